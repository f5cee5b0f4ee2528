"""Camera messages as arrays, in all common encodings, with `step` padding and byte order."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from reasonseg_ros.errors import UnusableImage as UnusableImage
from reasonseg_ros.images.compressed import (
    check_compressed_colour,
    check_compressed_depth,
    depth_from_compressed,
    parse_format,
    rgb_from_compressed_colour,
)
from reasonseg_ros.images.encodings import (
    DEPTH_ENCODINGS,
    ENCODINGS,
    PLANAR,
    Convert,
    colour_encoding,
    rgb_from_packed,
    rgb_from_planes,
)
from reasonseg_ros.images.files import is_dark
from reasonseg_ros.images.header import MAX_MEGAPIXELS, check_pixels, is_deep_png, read_header
from reasonseg_ros.space.calibration import RAW, UnusableCalibration, intrinsics_from_info
from reasonseg_ros.stamps import header_stamp_ns
from reasonseg_ros.types import FloatArray, Frame, RgbImage

FARTHEST_USUAL_M, NEAREST_USUAL_M = 100.0, 0.05
"""If nearly all depth is beyond the first or within the second, it is probably in another unit."""


def check_image(message: Any, max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Check the layout of a sensor_msgs/Image without reading its pixels. Raises UnusableImage."""
    encoding = colour_encoding(message.encoding)
    if encoding in PLANAR:
        _check_layout(message, 1, max_megapixels, _planar_rows(encoding, message.height))
    else:
        dtype, channels = ENCODINGS[encoding]
        _check_layout(message, dtype.itemsize * channels, max_megapixels)
    if encoding.startswith(("yuv422", "nv1", "nv2")) and encoding != "nv24" and message.width % 2:
        raise UnusableImage("odd width", f"{message.width} pixels in {encoding}, which shares colour between two")
    if encoding in ("nv12", "nv21") and message.height % 2:
        raise UnusableImage("odd height", f"{message.height} rows in {encoding}, which shares colour between two")


def check_compressed(message: Any, max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Check header and completeness of a sensor_msgs/CompressedImage without decoding it. Raises UnusableImage."""
    check_compressed_colour(message.format, message.data, max_megapixels)
    stamp_ns(message.header)


def is_depth(message: Any) -> bool:
    """Whether an Image or CompressedImage can only be depth; 16-bit grey (mono16) may also be an image."""
    if is_compressed(message):
        return parse_format(message.format).is_depth
    return message.encoding in ("16UC1", "32FC1")


def declared_size_wh(message: Any) -> tuple[int, int]:
    """Declared width and height of an Image or CompressedImage, without decoding. Raises UnusableImage."""
    size_wh = read_header(message.data).size_wh if is_compressed(message) else (message.width, message.height)
    check_pixels(size_wh)
    return size_wh


def is_dark_16bit(message: Any, rgb: RgbImage) -> bool:
    """Whether a 16-bit image uses only the lowest 12 bits, as 12-bit cameras that do not shift their values."""
    if is_compressed(message):
        is_deep = parse_format(message.format).encoding.endswith("16") or is_deep_png(message.data)
    else:
        is_deep = str(message.encoding).endswith("16")
    return is_deep and is_dark(rgb)


def is_compressed(message: Any) -> bool:
    """Whether a message is a CompressedImage, from ROS or a bag."""
    return hasattr(message, "format")


def stamp_ns(header: Any) -> int:
    """Stamp of a std_msgs/Header in nanoseconds. Raises UnusableImage if it is not a valid time."""
    if header.stamp.sec < 0 or header.stamp.nanosec >= 1_000_000_000:
        raise UnusableImage("bad stamp", f"sec {header.stamp.sec}, nanosec {header.stamp.nanosec}")
    return header_stamp_ns(header)


def frame_from_message(
    message: Any,
    depth_m: FloatArray | None = None,
    info: Any = None,
    kind: str = RAW,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Frame:
    """A Frame from sensor_msgs/Image or CompressedImage. `kind` is `raw` or `rectified`.

    Depth and CameraInfo that do not match the image are omitted, and `warning_3d` gives the reason. Raises
    UnusableImage.
    """
    if is_compressed(message):
        rgb = rgb_from_compressed(message, max_megapixels)
    else:
        rgb = rgb_from_image(message, max_megapixels=max_megapixels)
    size_wh = rgb.shape[1], rgb.shape[0]
    intrinsics, warnings = None, []
    if depth_m is not None and depth_m.shape != rgb.shape[:2]:
        warnings.append(str(depth_of_another_size(depth_m, size_wh)))
        depth_m = None
    if info is not None:
        try:
            intrinsics = intrinsics_from_info(info, size_wh, kind)
        except UnusableCalibration as error:
            warnings.append(str(error))
    frame = stamp_ns(message.header), message.header.frame_id
    return Frame(rgb, *frame, depth_m, intrinsics, warning_3d="; ".join(warnings))


def depth_of_another_size(depth_m: FloatArray, size_wh: tuple[int, int]) -> UnusableImage:
    """The error for depth whose size differs from the image's."""
    return UnusableImage(
        "depth of another size",
        f"{depth_m.shape[1]} x {depth_m.shape[0]} for an image of {size_wh[0]} x {size_wh[1]}; "
        "publish depth that is registered to the colour image",
    )


def rgb_from_image(message: Any, convert: Convert | None = None, max_megapixels: float = MAX_MEGAPIXELS) -> RgbImage:
    """A sensor_msgs/Image as uint8 [H, W, 3]. `convert` is one of the converters in `encodings`; None chooses one.

    16-bit pixels are scaled by their full range: 65535 becomes 255. Raises UnusableImage.
    """
    check_image(message, max_megapixels)
    encoding = colour_encoding(message.encoding)
    if encoding not in PLANAR:
        return rgb_from_packed(_rows(message, *ENCODINGS[encoding]), encoding, convert)
    height, width, step = message.height, message.width, message.step
    data = np.frombuffer(message.data, np.uint8)
    brightness, colour = data[: step * height].reshape(height, step), data[step * height :]
    # nv24 has two bytes of chroma per pixel, so its rows of chroma are twice as long.
    times = 2 if encoding == "nv24" else 1
    return rgb_from_planes(brightness[:, :width], colour.reshape(-1, times * step)[:, : times * width], encoding)


def rgb_from_compressed(message: Any, max_megapixels: float = MAX_MEGAPIXELS) -> RgbImage:
    """A sensor_msgs/CompressedImage as uint8 [H, W, 3]. Raises UnusableImage."""
    check_compressed(message, max_megapixels)
    return rgb_from_compressed_colour(message.format, message.data, max_megapixels)


def check_depth(message: Any, max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Check the layout of a depth Image or CompressedImage without reading its pixels. Raises UnusableImage."""
    if is_compressed(message):
        check_compressed_depth(message.format, message.data, max_megapixels)
        stamp_ns(message.header)
        return
    if message.encoding not in DEPTH_ENCODINGS:
        known = ", ".join(DEPTH_ENCODINGS)
        raise UnusableImage("unknown depth encoding", f"{message.encoding[:40]!r}; known are {known}")
    _check_layout(message, DEPTH_ENCODINGS[message.encoding].itemsize, max_megapixels)


def depth_from_image(message: Any, max_megapixels: float = MAX_MEGAPIXELS) -> FloatArray:
    """A depth Image or CompressedImage in metres, float32 [H, W]: 16UC1 is in millimetres, 32FC1 in metres (REP-118).

    0 or NaN is unknown. Raises UnusableImage, also if all pixels are unknown.
    """
    check_depth(message, max_megapixels)
    if is_compressed(message):
        depth_m = depth_from_compressed(message.format, message.data, max_megapixels)
    else:
        dtype = DEPTH_ENCODINGS[message.encoding]
        depth_m = _rows(message, dtype, 1).astype(np.float32)
        if dtype.itemsize == 2:
            depth_m /= 1000
    depth_m[~np.isfinite(depth_m)] = np.nan
    if not (depth_m > 0).any():
        raise UnusableImage("empty depth", f"not one of {depth_m.size} pixels is a finite depth above 0")
    return depth_m


def depth_doubt(depth_m: FloatArray) -> str:
    """Why depth [H, W] may be in another unit than its encoding requires (REP-118); empty if it is plausible."""
    known = depth_m[::4, ::4]
    known = known[known > 0]  # also drops NaN
    if not known.size:
        return ""
    near_m, far_m = np.percentile(known, [5, 95])
    if near_m > FARTHEST_USUAL_M:
        return f"nearly all depth is beyond {near_m:.0f} m: 32FC1 has to be in metres; publish millimetres as 16UC1"
    if far_m < NEAREST_USUAL_M:
        return f"nearly all depth is within {far_m:.3g} m: 16UC1 has to be in millimetres; publish metres as 32FC1"
    return ""


def _planar_rows(encoding: str, height: int) -> int:
    """Number of rows of `step` bytes in both planes."""
    return 3 * height if encoding == "nv24" else height + height // 2


def _check_layout(message: Any, pixel_bytes: int, max_megapixels: float, rows: int = 0) -> None:
    """Check stamp and sizes. `rows` is the number of rows of `step` bytes; 0 means the image's height."""
    stamp_ns(message.header)
    height, width, step, size = message.height, message.width, message.step, len(message.data)
    rows = rows or height
    if not height or not width:
        raise UnusableImage("zero size", f"{width} x {height} pixels")
    if step < width * pixel_bytes:
        raise UnusableImage("wrong step", f"{step} bytes a row; {width} pixels need {width * pixel_bytes}")
    if size < step * rows:
        raise UnusableImage("truncated image", f"{size} bytes; {rows} rows of {step} need {step * rows}")
    if size > step * rows:
        # Reading it with this step would shear the picture.
        raise UnusableImage("wrong step", f"{size} bytes; {rows} rows of {step} are {step * rows}")
    check_pixels((width, height), max_megapixels)


def _rows(message: Any, dtype: np.dtype[Any], channels: int) -> np.ndarray:
    """Contiguous pixels [H, W * channels] in native byte order; a view of the message where possible."""
    row_bytes = message.width * channels * dtype.itemsize
    data = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, :row_bytes]
    rows = np.ascontiguousarray(data).view(dtype)
    if dtype.itemsize > 1 and bool(message.is_bigendian) != (sys.byteorder == "big"):
        rows = rows.byteswap()
    return rows

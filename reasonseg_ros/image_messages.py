"""Camera messages as arrays: every encoding that cameras send, with `step` padding and byte order honoured.

Layout is checked here; colours are converted by cv_bridge where a ROS installation has one that imports with the
running numpy, otherwise by rosbags-image. Both give the same pixels.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from reasonseg_ros.calibration import RAW, UnusableCalibration, intrinsics_from_info
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.types import FloatArray, Frame, RgbImage

_EIGHT_BIT = {"mono8": 1, "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "yuv422": 2, "yuv422_yuy2": 2}
_SIXTEEN_BIT = {"mono16": 1, "rgb16": 3, "bgr16": 3, "rgba16": 4, "bgra16": 4}
_BAYER = ("rggb", "bggr", "gbrg", "grbg")
_SAME_AS = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}
_DEPTH = {"16UC1": np.dtype(np.uint16), "mono16": np.dtype(np.uint16), "32FC1": np.dtype(np.float32)}

ENCODINGS: dict[str, tuple[np.dtype[Any], int]] = {
    **{name: (np.dtype(np.uint8), channels) for name, channels in _EIGHT_BIT.items()},
    **{name: (np.dtype(np.uint16), channels) for name, channels in _SIXTEEN_BIT.items()},
    **{f"bayer_{order}8": (np.dtype(np.uint8), 1) for order in _BAYER},
    **{f"bayer_{order}16": (np.dtype(np.uint16), 1) for order in _BAYER},
}
"""Element type and elements a pixel of each colour encoding; `uyvy` and `yuyv` are read as well."""


class UnusableImage(InvalidInput):
    """A camera message that cannot be used. `reason` is short and always the same for the same fault."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True)
class PackedImage:
    """Fields of sensor_msgs/Image, in the machine's byte order and without padding. What the converters get."""

    height: int
    width: int
    encoding: str
    step: int
    data: Any
    is_bigendian: int = int(sys.byteorder == "big")


def check_image(message: Any) -> None:
    """Look at the layout of a sensor_msgs/Image without touching its pixels. Raises UnusableImage."""
    encoding = _SAME_AS.get(message.encoding, message.encoding)
    if encoding not in ENCODINGS:
        if encoding in _DEPTH:
            raise UnusableImage("depth encoding", f"{encoding!r} on a colour topic; publish it on the depth topic")
        raise UnusableImage("unknown encoding", f"{encoding[:40]!r}; known are {', '.join(ENCODINGS)}, uyvy, yuyv")
    dtype, channels = ENCODINGS[encoding]
    _check_layout(message, dtype.itemsize * channels)
    if encoding.startswith("yuv422") and message.width % 2:
        raise UnusableImage("odd width", f"{message.width} pixels in {encoding}, which shares colour between two")


def check_compressed(message: Any) -> None:
    """Look at the start and the end of a sensor_msgs/CompressedImage. Raises UnusableImage."""
    data = bytes(message.data[:8]), bytes(message.data[-64:])
    if data[0].startswith(b"\xff\xd8\xff"):
        # A decoder fills the missing part of a cut JPEG with grey; some cameras pad after the end mark.
        if b"\xff\xd9" not in data[1]:
            raise UnusableImage("truncated image", f"JPEG of {len(message.data)} bytes without its end mark")
    elif data[0] == b"\x89PNG\r\n\x1a\n":
        if b"IEND" not in data[1]:
            raise UnusableImage("truncated image", f"PNG of {len(message.data)} bytes without its end mark")
    else:
        raise UnusableImage("unknown encoding", f"format {message.format[:40]!r} holds neither JPEG nor PNG")
    stamp_ns(message.header)


def stamp_ns(header: Any) -> int:
    """Stamp of a std_msgs/Header in nanoseconds. Raises UnusableImage where it is not a time."""
    if header.stamp.sec < 0 or header.stamp.nanosec >= 1_000_000_000:
        raise UnusableImage("bad stamp", f"sec {header.stamp.sec}, nanosec {header.stamp.nanosec}")
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def frame_from_message(message: Any, depth_m: FloatArray | None = None, info: Any = None, kind: str = RAW) -> Frame:
    """A Frame from sensor_msgs/Image or CompressedImage (jpeg, png), which is `raw` or `rectified`.

    Depth and CameraInfo that do not fit the image are left out, and `warning_3d` says why. Raises UnusableImage.
    """
    rgb = rgb_from_compressed(message) if hasattr(message, "format") else rgb_from_image(message)
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
    """The error for depth whose size is not the image's."""
    return UnusableImage(
        "depth of another size",
        f"{depth_m.shape[1]} x {depth_m.shape[0]} for an image of {size_wh[0]} x {size_wh[1]}; "
        "publish depth that is registered to the colour image",
    )


def rgb_from_image(message: Any, convert: Callable[[PackedImage, str], Any] | None = None) -> RgbImage:
    """uint8 [H, W, 3] of a sensor_msgs/Image. `convert` is one of the two converters below, chosen if not given."""
    check_image(message)
    encoding = _SAME_AS.get(message.encoding, message.encoding)
    dtype, channels = ENCODINGS[encoding]
    rows = _rows(message, dtype, channels)
    packed = PackedImage(message.height, message.width, encoding, rows[0].nbytes, rows.reshape(-1))
    target = "rgb8" if dtype.itemsize == 1 else "rgb16"
    try:
        rgb = (convert or _converter())(packed, target)
    except Exception as error:  # each library raises its own and cv2's errors
        raise UnusableImage("conversion failed", f"{encoding} to {target}: {error}") from error
    if target == "rgb16":
        # The libraries round differently from 16 to 8 bits, so this step is taken here.
        rgb = cv2.convertScaleAbs(rgb, alpha=255 / 65535)
    return rgb if rgb.flags.writeable and rgb.flags.c_contiguous else np.array(rgb)


def rgb_from_compressed(message: Any) -> RgbImage:
    """uint8 [H, W, 3] of a sensor_msgs/CompressedImage. Raises UnusableImage."""
    check_compressed(message)
    try:
        # A camera's pixels belong to its calibration, so an EXIF rotation is not applied.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        bgr = cv2.imdecode(np.frombuffer(message.data, np.uint8), flags)
    except cv2.error as error:
        raise UnusableImage("damaged image", f"{len(message.data)} bytes do not decode: {error}") from error
    if bgr is None:
        raise UnusableImage("damaged image", f"{len(message.data)} bytes do not decode; send JPEG or PNG")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def check_depth(message: Any) -> None:
    """Look at the layout of a depth image without touching its pixels. Raises UnusableImage."""
    if message.encoding not in _DEPTH:
        raise UnusableImage("unknown depth encoding", f"{message.encoding[:40]!r}; known are {', '.join(_DEPTH)}")
    _check_layout(message, _DEPTH[message.encoding].itemsize)


def depth_from_image(message: Any) -> FloatArray:
    """float32 [H, W] metres of a depth image: 16UC1 in millimetres or 32FC1 in metres (REP-118).

    0 or NaN is unknown. Raises UnusableImage, also where not one pixel is known.
    """
    check_depth(message)
    dtype = _DEPTH[message.encoding]
    depth_m = _rows(message, dtype, 1).astype(np.float32)
    if dtype.itemsize == 2:
        depth_m /= 1000
    depth_m[~np.isfinite(depth_m)] = np.nan
    if not (depth_m > 0).any():
        raise UnusableImage("empty depth", f"not one of {depth_m.size} pixels is a finite depth above 0")
    return depth_m


def convert_with_rosbags(packed: PackedImage, target: str) -> Any:
    """Colours by rosbags-image."""
    from rosbags.image import image_to_cvimage

    return image_to_cvimage(packed, target)


def convert_with_cv_bridge(packed: PackedImage, target: str) -> Any:
    """Colours by the ROS installation's cv_bridge."""
    from cv_bridge import CvBridge

    return CvBridge().imgmsg_to_cv2(packed, target)


@functools.cache
def has_cv_bridge() -> bool:
    """Whether cv_bridge is there and imports with the running numpy (one built for numpy 1 does not with numpy 2)."""
    try:
        import cv_bridge.boost.cv_bridge_boost  # noqa: F401
    except (ImportError, AttributeError, SystemError):
        return False
    return True


def _converter() -> Callable[[PackedImage, str], Any]:
    return convert_with_cv_bridge if has_cv_bridge() else convert_with_rosbags


def _check_layout(message: Any, pixel_bytes: int) -> None:
    stamp_ns(message.header)
    height, width, step, size = message.height, message.width, message.step, len(message.data)
    if not height or not width:
        raise UnusableImage("zero size", f"{width} x {height} pixels")
    if step < width * pixel_bytes:
        raise UnusableImage("wrong step", f"{step} bytes a row; {width} pixels need {width * pixel_bytes}")
    if size < step * height:
        raise UnusableImage("truncated image", f"{size} bytes; {height} rows of {step} need {step * height}")
    if size > step * height:
        # Reading on would shear the picture.
        raise UnusableImage("wrong step", f"{size} bytes; {height} rows of {step} are {step * height}")


def _rows(message: Any, dtype: np.dtype[Any], channels: int) -> np.ndarray:
    """[H, W * channels] in the machine's byte order, contiguous; a view of the message where that is possible."""
    row_bytes = message.width * channels * dtype.itemsize
    data = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, :row_bytes]
    rows = np.ascontiguousarray(data).view(dtype)
    if dtype.itemsize > 1 and bool(message.is_bigendian) != (sys.byteorder == "big"):
        rows = rows.byteswap()
    return rows

"""Pixel encodings of sensor_msgs/Image, and their conversion to RGB.

Colours are converted by cv_bridge if it is installed and works with the installed numpy, otherwise by rosbags-image.
Both give the same pixels.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import UnusableImage
from reasonseg_ros.images.files import eight_bits
from reasonseg_ros.types import RgbImage

_EIGHT_BIT = {"mono8": 1, "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "yuv422": 2, "yuv422_yuy2": 2}
_SIXTEEN_BIT = {"mono16": 1, "rgb16": 3, "bgr16": 3, "rgba16": 4, "bgra16": 4}
_BAYER = ("rggb", "bggr", "gbrg", "grbg")
_SAME_AS = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2"}

ENCODINGS: dict[str, tuple[np.dtype[Any], int]] = {
    **{name: (np.dtype(np.uint8), channels) for name, channels in _EIGHT_BIT.items()},
    **{name: (np.dtype(np.uint16), channels) for name, channels in _SIXTEEN_BIT.items()},
    **{f"bayer_{order}8": (np.dtype(np.uint8), 1) for order in _BAYER},
    **{f"bayer_{order}16": (np.dtype(np.uint16), 1) for order in _BAYER},
}
"""Element type, and elements per pixel, of each packed colour encoding. `uyvy` and `yuyv` are aliases."""

PLANAR = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21, "nv24": None}
"""Encodings with a plane of luma, then one of chroma: per 2 x 2 pixels (nv12: U first, nv21: V first), or per pixel."""

DEPTH_ENCODINGS: dict[str, np.dtype[Any]] = {
    "16UC1": np.dtype(np.uint16), "mono16": np.dtype(np.uint16), "32FC1": np.dtype(np.float32),
}  # fmt: skip

# BT.601 with a limited range, as OpenCV converts the other YUV encodings.
_YUV_TO_RGB = np.array([[1.164, 0, 1.596], [1.164, -0.391, -0.813], [1.164, 2.018, 0]])
_YUV_ZERO = np.array([16, 128, 128])


@dataclass(frozen=True)
class PackedImage:
    """The input of the converters: the fields of sensor_msgs/Image, in native byte order and without padding."""

    height: int
    width: int
    encoding: str
    step: int
    data: Any
    is_bigendian: int = int(sys.byteorder == "big")


Convert = Callable[[PackedImage, str], Any]


def colour_encoding(encoding: str) -> str:
    """The canonical name of a colour encoding. Raises UnusableImage for other encodings."""
    name = _SAME_AS.get(encoding, encoding)
    if name in ENCODINGS or name in PLANAR:
        return name
    if encoding in DEPTH_ENCODINGS:
        raise UnusableImage("depth encoding", f"{encoding!r} on a colour topic; publish it on the depth topic")
    detail = f"{encoding[:40]!r}"
    if encoding.lower() in (*ENCODINGS, *PLANAR, *_SAME_AS):
        detail += f"; write {encoding.lower()!r}"
    elif encoding[:2] in ("8U", "8S", "16", "32", "64"):
        detail += " does not say what its channels mean; publish for example rgb8, bgr8 or mono8"
    else:
        detail += f"; known are {', '.join((*ENCODINGS, *_SAME_AS, *PLANAR))}"
    raise UnusableImage("unknown encoding", detail)


def rgb_from_packed(pixels: NDArray[Any], encoding: str, convert: Convert | None = None) -> RgbImage:
    """Packed pixels [H, W * channels] without padding, as uint8 [H, W, 3]. Raises UnusableImage.

    `convert` is one of the two converters below; None chooses the available one.
    """
    dtype, channels = ENCODINGS[encoding]
    height, width = len(pixels), pixels.shape[1] // channels
    if encoding.startswith("bayer_") and min(height, width) < 3:
        raise UnusableImage("conversion failed", f"{width} x {height} pixels are too few for a Bayer mosaic")
    packed = PackedImage(height, width, encoding, pixels[0].nbytes, pixels.reshape(-1))
    target = "rgb8" if dtype.itemsize == 1 else "rgb16"
    try:
        rgb = (convert or _converter())(packed, target)
    except Exception as error:  # each library raises its own and cv2's errors
        raise UnusableImage("conversion failed", f"{encoding} to {target}: {error}") from error
    # The libraries round 16 to 8 bits differently, so this is done here.
    rgb = eight_bits(rgb) if target == "rgb16" else rgb
    return rgb if rgb.flags.writeable and rgb.flags.c_contiguous else np.array(rgb)


def rgb_from_planes(brightness: NDArray[np.uint8], colour: NDArray[np.uint8], encoding: str) -> RgbImage:
    """Luma [H, W] and chroma, [H / 2, W] or for nv24 [H, 2 * W], as RGB, uint8 [H, W, 3]."""
    code = PLANAR[encoding]
    if code is not None:
        rgb: RgbImage = cv2.cvtColor(np.vstack([brightness, colour]), code)
        return rgb
    yuv = np.dstack([brightness, colour.reshape(*brightness.shape, 2)])
    offset = -_YUV_TO_RGB @ _YUV_ZERO
    return np.asarray(cv2.transform(yuv, np.column_stack([_YUV_TO_RGB, offset])), np.uint8)


def convert_with_rosbags(packed: PackedImage, target: str) -> Any:
    """Convert with rosbags-image."""
    from rosbags.image import image_to_cvimage

    return image_to_cvimage(packed, target)  # type: ignore[arg-type]  # it reads only the fields that are here


def convert_with_cv_bridge(packed: PackedImage, target: str) -> Any:
    """Convert with the ROS installation's cv_bridge."""
    from cv_bridge import CvBridge

    return CvBridge().imgmsg_to_cv2(packed, target)


@functools.cache
def has_cv_bridge() -> bool:
    """Whether cv_bridge is installed and works with the installed numpy. A build for numpy 1 fails with numpy 2."""
    try:
        import cv_bridge.boost.cv_bridge_boost  # noqa: F401
    except (ImportError, AttributeError, SystemError):
        return False
    return True


def _converter() -> Convert:
    return convert_with_cv_bridge if has_cv_bridge() else convert_with_rosbags

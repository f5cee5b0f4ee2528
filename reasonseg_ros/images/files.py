"""Reads and writes image files as RGB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput, UnusableImage
from reasonseg_ros.faults import naming
from reasonseg_ros.files.bounded import read_data
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.images.header import MAX_MEGAPIXELS, check_pixels, read_header, without_tiff_orientation
from reasonseg_ros.types import RgbImage


def decode_image(data: Any, max_megapixels: float = MAX_MEGAPIXELS, upright: bool = False) -> NDArray[Any]:
    """Decode the bytes of an image file: grey [H, W], or BGR [H, W, 3], without alpha.

    The declared size is checked before decoding. With `upright` the EXIF orientation is applied, as in image viewers;
    otherwise the pixels stay as stored. Raises UnusableImage.
    """
    header = read_header(data)
    check_pixels(header.size_wh, max_megapixels)
    if header.format == "tiff" and not upright:
        data = without_tiff_orientation(data)
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    stated = f"{header.format.upper()} of {len(data)} bytes does not decode"
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise UnusableImage("damaged image", f"{stated}: {error.err or error}") from error
    if pixels is None:
        raise UnusableImage("damaged image", stated)
    size_wh = (pixels.shape[1], pixels.shape[0])
    if size_wh != header.size_wh and not (upright and size_wh == header.size_wh[::-1]):
        raise UnusableImage("damaged image", f"{stated} to the {header.size_wh} pixels of its header, but to {size_wh}")
    return pixels


def eight_bits(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """16-bit pixels scaled to 8 bits and rounded: 65535 becomes 255. The same rule is used for all sources."""
    scaled: NDArray[np.uint8] = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    return scaled


def rgb_from_pixels(pixels: NDArray[Any]) -> RgbImage:
    """Grey or BGR pixels of 8 or 16 bits as RGB, uint8 [H, W, 3]. Raises UnusableImage for other types."""
    if pixels.dtype == np.uint16:
        pixels = eight_bits(pixels)
    if pixels.dtype != np.uint8:
        raise UnusableImage("unknown encoding", f"pixels of type {pixels.dtype}; expected 8 or 16 bits")
    rgb: RgbImage = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB)
    return rgb


def is_dark(rgb: RgbImage) -> bool:
    """Whether an image of 16 bits uses only the lowest 12, as cameras and depth sensors that do not shift them."""
    return int(rgb.max()) <= round(4095 * 255 / 65535)


def upright_rgb(data: Any) -> RgbImage:
    """The bytes of an image file as uint8 [H, W, 3], with the EXIF orientation applied. Raises UnusableImage.

    Nearly black pixels of 16 bits are refused.
    """
    pixels = decode_image(data, upright=True)
    rgb = rgb_from_pixels(pixels)
    if pixels.dtype == np.uint16 and is_dark(rgb):
        detail = "no 16-bit value reaches 4096, and 65535 is white; scale the values up, or save 8 bits"
        raise UnusableImage("nearly black", detail)
    return rgb


def read_image(path: Path) -> RgbImage:
    """Read an image file as uint8 [H, W, 3], with the EXIF orientation applied. Raises InvalidInput."""
    try:
        data = read_data(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    try:
        return upright_rgb(data)
    except UnusableImage as error:
        raise InvalidInput(f"{path} is not an image that can be read ({error}); use PNG or JPEG") from error


def write_image(path: Path, rgb: RgbImage) -> None:
    """Write uint8 [H, W, 3] as PNG or JPEG, by the file's ending. Creates folders. Raises InvalidInput."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InvalidInput(f"{path}: unknown image ending {path.suffix!r}; use .png or .jpg")
    data = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, "wb") as file:
        file.write(data.tobytes())

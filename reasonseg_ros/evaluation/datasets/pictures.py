"""Prepares image files for a bag: the original bytes wherever a robot's software reads them the same way."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonseg_ros.errors import InvalidInput, UnusableImage
from reasonseg_ros.files.bounded import read_data
from reasonseg_ros.images.files import upright_rgb
from reasonseg_ros.images.header import check_pixels, read_header
from reasonseg_ros.types import RgbImage

if TYPE_CHECKING:
    from PIL import Image

EXIF_ORIENTATION = 0x0112
_DEEP_MODES = ("I", "I;16", "I;16B", "F")
"""Grey pixels of more than 8 bits."""


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """Bytes of a JPEG or PNG file; `format` is "jpeg" or "png", as sensor_msgs/CompressedImage names them."""

    data: bytes
    format: str
    size_wh: tuple[int, int]


def read_picture(path: Path) -> EncodedImage:
    """An image file. Raises InvalidInput if it is missing or damaged."""
    try:
        data = read_data(path)
    except FileNotFoundError:
        raise InvalidInput(f"the image {path} is missing; put it there, or remove its annotation") from None
    except OSError as error:
        raise InvalidInput(f"the image {path} cannot be read: {error.strerror}") from error
    return encoded_picture(data, f"the image {path}")


def check_stated_size(image: EncodedImage, width: Any, height: Any) -> None:
    """Raises InvalidInput if an annotation states another size than the image's. None means that it states no size."""
    if None not in (width, height) and (width, height) != image.size_wh:
        sizes = f"the annotation is of {width!s:.20} x {height!s:.20} pixels, the image of {image.size_wh[0]} x "
        raise InvalidInput(f"{sizes}{image.size_wh[1]}; use the image that was annotated")


def encoded_picture(data: bytes, name: str) -> EncodedImage:
    """The bytes of an image file, checked by decoding all of it.

    The bytes of a JPEG or PNG file are not changed. Other formats, and photographs with an EXIF rotation, are rotated
    and written as PNG without loss. 16-bit grey becomes 8 bits, as in the node. Raises InvalidInput if the data are
    damaged or too large.
    """
    with open_image(data, name) as image:
        turned = image.getexif().get(EXIF_ORIENTATION, 1) != 1
        is_deep = image.mode in _DEEP_MODES
        kept = "" if turned or is_deep else _format(data)
        if kept:
            return EncodedImage(data, kept, image.size)
        from PIL import Image, ImageOps

        # Pillow's own conversion of deep pixels cuts values off instead of scaling them.
        upright = Image.fromarray(_deep_rgb(data, name)) if is_deep else ImageOps.exif_transpose(image).convert("RGB")
    buffer = io.BytesIO()
    upright.save(buffer, "PNG")
    return EncodedImage(buffer.getvalue(), "png", upright.size)


def open_image(data: bytes, name: str) -> Image.Image:
    """A decoded image. Raises InvalidInput if the data are damaged; `name` is the image's name for messages."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InvalidInput("reading data sets needs Pillow; pip install 'reasonseg_ros[evaluation]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        check_pixels(image.size)
        image.load()
        forget_xmp(image)
    except (UnusableImage, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{name} cannot be used: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidInput(f"{name} is damaged ({error}); get it again") from error
    return image


def forget_xmp(image: Image.Image) -> None:
    """Drop the XMP orientation, which Pillow would apply, so that only EXIF counts, as in viewers and OpenCV."""
    for key in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(key, None)


def _deep_rgb(data: bytes, name: str) -> RgbImage:
    try:
        return upright_rgb(data)
    except UnusableImage as error:
        raise InvalidInput(f"{name} cannot be used: {error}") from error


def _format(data: bytes) -> str:
    """`jpeg` or `png` if a robot's software reads these bytes unchanged, else empty."""
    try:
        found = read_header(data).format
    except UnusableImage:
        return ""
    return found if found in ("jpeg", "png") else ""

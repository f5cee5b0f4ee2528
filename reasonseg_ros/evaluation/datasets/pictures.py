"""Image files as they go into a bag: the original bytes wherever a robot's software would read them the same way."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reasonseg_ros.errors import InvalidInput

if TYPE_CHECKING:
    from PIL import Image

EXIF_ORIENTATION = 0x0112
END_WITHIN_BYTES = 64
"""Readers of camera images look for the end mark that far back."""


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """Bytes of a JPEG or PNG file; `format` is "jpeg" or "png", as sensor_msgs/CompressedImage names them."""

    data: bytes
    format: str
    size_wh: tuple[int, int]


def read_picture(path: Path) -> EncodedImage:
    """An image file. Raises InvalidInput where it is missing or damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InvalidInput(f"the image {path} is missing; put it there, or remove its annotation") from None
    except OSError as error:
        raise InvalidInput(f"the image {path} cannot be read: {error.strerror}") from error
    return encoded_picture(data, f"the image {path}")


def encoded_picture(data: bytes, name: str) -> EncodedImage:
    """The bytes of an image file, checked by decoding all of it.

    A JPEG or PNG file is kept byte by byte. Other formats, and photographs that are to be turned (EXIF), are
    written anew as PNG, without loss and already turned. Raises InvalidInput where the data are damaged.
    """
    with open_image(data, name) as image:
        turned = image.getexif().get(EXIF_ORIENTATION, 1) != 1
        kept = "" if turned else _format(data)
        if kept:
            return EncodedImage(data, kept, image.size)
        from PIL import ImageOps

        upright = ImageOps.exif_transpose(image).convert("RGB")
    buffer = io.BytesIO()
    upright.save(buffer, "PNG")
    return EncodedImage(buffer.getvalue(), "png", upright.size)


def open_image(data: bytes, name: str) -> Image.Image:
    """A decoded image. Raises InvalidInput where the data are damaged; `name` says whose they are."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InvalidInput("reading data sets needs Pillow; pip install 'reasonseg_ros[evaluation]'") from error
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{name} is damaged ({error}); get it again") from error
    return image


def _format(data: bytes) -> str:
    if data.startswith(b"\xff\xd8\xff") and b"\xff\xd9" in data[-END_WITHIN_BYTES:]:
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND" in data[-END_WITHIN_BYTES:]:
        return "png"
    return ""

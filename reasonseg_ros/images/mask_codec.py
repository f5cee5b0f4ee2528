"""The coding of Mask messages: the crop around the mask, as PNG or as run lengths.

It needs neither ROS nor a bag library, so node, bags and tools share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from reasonseg_ros.errors import InvalidInput, UnusableImage
from reasonseg_ros.geometry import mask_box
from reasonseg_ros.images.files import decode_image
from reasonseg_ros.images.header import check_mask_pixels, read_header
from reasonseg_ros.images.run_lengths import decode_rle, encode_rle
from reasonseg_ros.types import BoolMask

ENCODINGS = ("png", "rle")


@dataclass(frozen=True)
class EncodedMask:
    """The fields of reasonseg_ros/msg/Mask, with the same names."""

    height: int
    width: int
    x_offset: int
    y_offset: int
    crop_height: int
    crop_width: int
    encoding: str
    data: bytes


def encode_mask(mask: BoolMask, encoding: str = "png") -> EncodedMask:
    """Encode bool [H, W] as the crop of its tight box. An empty mask has a crop of zero size and no data.

    Raises InvalidInput for an unknown encoding.
    """
    if encoding not in ENCODINGS:
        raise InvalidInput(f"mask encoding {encoding!r}; expected one of {', '.join(ENCODINGS)}")
    height, width = mask.shape
    box = mask_box(mask) if mask.size else None
    if box is None:
        return EncodedMask(height, width, 0, 0, 0, 0, encoding, b"")
    x1, y1, x2, y2 = (int(value) for value in box)
    crop = mask[y1:y2, x1:x2]
    if encoding == "png":
        data = cv2.imencode(".png", crop.astype(np.uint8) * 255)[1].tobytes()
    else:
        data = encode_rle(crop).astype("<u4").tobytes()
    return EncodedMask(height, width, x1, y1, y2 - y1, x2 - x1, encoding, data)


def decode_mask(message: Any) -> BoolMask:
    """Decode an EncodedMask, or a Mask message from ROS or a bag, to bool [H, W].

    Raises InvalidInput if the crop is not inside the image, or if the data is damaged.
    """
    height, width = int(message.height), int(message.width)
    crop_height, crop_width = int(message.crop_height), int(message.crop_width)
    x, y = int(message.x_offset), int(message.y_offset)
    check_mask_pixels((width, height))
    if x + crop_width > width or y + crop_height > height:
        raise InvalidInput(
            f"crop of {crop_width} x {crop_height} at ({x}, {y}) is not inside the {width} x {height} image"
        )
    mask = np.zeros((height, width), bool)
    data = bytes(message.data)
    if crop_height * crop_width == 0:
        if data:
            raise InvalidInput(f"{len(data)} bytes of data for a crop of zero size; send none")
        return mask
    if message.encoding == "png":
        crop = _decode_png(data, (crop_width, crop_height))
    elif message.encoding == "rle":
        if len(data) % 4:
            raise InvalidInput(f"{len(data)} bytes of run lengths; expected 4 for each run")
        crop = decode_rle(np.frombuffer(data, "<u4"), (crop_width, crop_height))
    else:
        raise InvalidInput(f"mask encoding {message.encoding!r}; expected one of {', '.join(ENCODINGS)}")
    mask[y : y + crop_height, x : x + crop_width] = crop
    return mask


def _decode_png(data: bytes, size_wh: tuple[int, int]) -> BoolMask:
    # The size in the header is compared first, so that a small file cannot decode to a huge image.
    try:
        header = read_header(data)
        if header.format != "png" or header.size_wh != size_wh:
            found = f"{header.format.upper()} of {header.size_wh[0]} x {header.size_wh[1]}"
            raise InvalidInput(f"mask data is {found} pixels; send the crop as PNG of {size_wh[0]} x {size_wh[1]}")
        crop = decode_image(data)
    except UnusableImage as error:
        raise InvalidInput(f"mask data is no PNG that can be read ({error}); send the mask again") from error
    if crop.ndim != 2 or crop.dtype != np.uint8:
        raise InvalidInput("mask data is a PNG in colour or of 16 bits; send 8-bit grey, 0 outside and 255 inside")
    if 0 < crop.max() <= 127:
        raise InvalidInput(f"mask data is a PNG with values up to {crop.max()}; write 255 inside the mask")
    return np.asarray(crop > 127)

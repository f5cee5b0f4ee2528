"""Camera messages as pictures for a browser."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message

from reasonseg_ros.console.camera_feed import IMAGE_KINDS
from reasonseg_ros.console.image_cache import RawMessage
from reasonseg_ros.images.messages import frame_from_message
from reasonseg_ros.types import Frame

JPEG_QUALITY = 80
THUMBNAIL_PX = 160
MASK_RGB = (213, 41, 77)
MASK_ALPHA = 0.5


@dataclass(frozen=True, eq=False)
class LiveImage:
    """A JPEG, with the stamp and the size of the original image."""

    jpeg: bytes
    stamp_ns: int
    size_wh: tuple[int, int]

    def packed(self) -> bytes:
        """Stamp (uint64), width and height of the image (uint32 each), little-endian, then the JPEG."""
        return struct.pack("<QII", self.stamp_ns, *self.size_wh) + self.jpeg


def frame_of(message: RawMessage) -> Frame:
    """The image in a message. Raises UnusableImage."""
    return frame_from_message(deserialize_message(message.data, IMAGE_KINDS[message.kind]))


def live_image(message: RawMessage, longest_px: int) -> LiveImage:
    """The image as a JPEG whose sides are at most `longest_px` long. Raises UnusableImage if it cannot be decoded."""
    frame = frame_of(message)
    return LiveImage(jpeg_of(frame.rgb, longest_px), message.stamp_ns, frame.size_wh)


def jpeg_of(rgb: NDArray[np.uint8], longest_px: int) -> bytes:
    """uint8 [H, W, 3] as a JPEG whose sides are at most `longest_px` long."""
    scale = longest_px / max(rgb.shape[:2])
    if scale < 1:
        size_wh = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
        rgb = np.asarray(cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())


def with_mask(rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A copy of `rgb`, uint8 [H, W, 3], with the pixels of `mask`, bool [H, W], tinted."""
    tinted: NDArray[np.uint8] = rgb.copy()
    tinted[mask] = (rgb[mask] * (1 - MASK_ALPHA) + np.array(MASK_RGB) * MASK_ALPHA).astype(np.uint8)
    return tinted

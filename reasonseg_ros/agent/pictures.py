"""Pictures small enough for a language model's context."""

from __future__ import annotations

import cv2

from reasonseg_ros.types import RgbImage

JPEG_QUALITIES = (85, 70, 50, 30)
MOST_BYTES = 500_000


def jpeg_within(rgb: RgbImage, most_side_px: int) -> bytes:
    """uint8 [H, W, 3] as a JPEG with sides of at most `most_side_px` and at most MOST_BYTES bytes."""
    scale = min(1.0, most_side_px / max(rgb.shape[:2]))
    while True:
        size_wh = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
        small = cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA)
        for quality in JPEG_QUALITIES:
            data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            if data.size <= MOST_BYTES:
                return bytes(data.tobytes())
        scale /= 2

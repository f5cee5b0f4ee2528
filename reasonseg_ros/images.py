"""Image files, in and out, red first."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.faults import naming
from reasonseg_ros.types import RgbImage


def read_image(path: Path) -> RgbImage:
    """uint8 [H, W, 3] of an image file. Raises InvalidInput where there is none or it is damaged."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise InvalidInput(f"{path} is not an image that can be read; use PNG or JPEG")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def write_image(path: Path, rgb: RgbImage) -> None:
    """Write uint8 [H, W, 3] as PNG or JPEG, by the file's ending; folders are made. Raises InvalidInput."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InvalidInput(f"{path}: unknown image ending {path.suffix!r}; use .png or .jpg")
    data = cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())

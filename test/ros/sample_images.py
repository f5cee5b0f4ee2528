"""Images for the tests: several unusable ones, and a large one."""

import numpy as np
from ros_client import image_of
from scripted_node import bright_frame

from reasonseg_ros.types import Frame


def bad_images():
    good = image_of(bright_frame())
    cases = {
        "truncated image": {"data": good.data[:-100]},
        "wrong step": {"step": 10},
        "zero size": {"height": 0, "width": 0, "step": 0, "data": b""},
        "unknown encoding": {"encoding": "rgb33"},
        "depth encoding": {"encoding": "32FC1", "step": 256, "data": np.full(48 * 64, np.nan, np.float32).tobytes()},
    }
    for reason, fields in cases.items():
        image = image_of(bright_frame())
        for name, content in fields.items():
            setattr(image, name, content)
        yield reason, image


def large_frame():
    rgb = np.zeros((480, 640, 3), np.uint8)
    rgb[300:380, 400:560] = 200
    return Frame(rgb, 13 * 10**9, "camera")

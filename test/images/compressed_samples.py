"""Small images, and messages with them as image_transport's plugins write them."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from reasonseg_ros.images import messages as images

HEADER = SimpleNamespace(stamp=SimpleNamespace(sec=3, nanosec=4), frame_id="optical")
HEIGHT, WIDTH = 48, 64
ORANGE = (220, 60, 20)
RGB = np.full((HEIGHT, WIDTH, 3), ORANGE, np.uint8)
BGR = RGB[..., ::-1]
GREY = np.full((HEIGHT, WIDTH), 90, np.uint8)


def compressed(text, data):
    return SimpleNamespace(header=HEADER, format=text, data=data)


def coded(suffix, pixels):
    return cv2.imencode(suffix, np.ascontiguousarray(pixels))[1].tobytes()


def mosaic(pattern, dtype=np.uint8):
    pixels = np.empty((HEIGHT, WIDTH), dtype)
    for index, colour in enumerate(pattern):
        pixels[index // 2 :: 2, index % 2 :: 2] = ORANGE["rgb".index(colour)] * (257 if dtype == np.uint16 else 1)
    return pixels


def refusal(call):
    with pytest.raises(images.UnusableImage) as caught:
        call()
    return caught.value.reason

"""What is kept of the last images."""

import numpy as np

from reasonseg_ros.images.memory import ImageMemory


def image() -> np.ndarray:
    return np.zeros((4, 4, 3), np.uint8)


def test_the_least_lately_used_image_goes_first():
    memory = ImageMemory(2)
    first, second, third = image(), image(), image()
    memory.put(first, "first")
    memory.put(second, "second")
    assert memory.get(first) == "first"
    memory.put(third, "third")
    assert [memory.get(rgb) for rgb in (first, second, third)] == ["first", None, "third"]


def test_equal_pixels_are_not_the_same_image():
    memory = ImageMemory(2)
    rgb = image()
    memory.put(rgb, "here")
    assert memory.get(rgb.copy()) is None


def test_size_is_bounded_and_a_replaced_value_counts_once():
    memory = ImageMemory(10, max_bytes=100)
    first, second = image(), image()
    memory.put(first, "a", 60)
    memory.put(first, "b", 60)
    assert memory.get(first) == "b"
    memory.put(second, "c", 50)
    assert [memory.get(first), memory.get(second)] == [None, "c"]
    memory.put(first, "too large", 101)
    assert len(memory) == 0


def test_no_images_keep_nothing():
    memory = ImageMemory(0)
    rgb = image()
    memory.put(rgb, "a")
    assert memory.get(rgb) is None

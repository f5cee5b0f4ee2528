"""Compressed depth as image_transport's plugins and cameras write it: each kind by its values, or by its reason."""

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros.images import messages as images
from test.images.compressed_samples import (
    BGR,
    GREY,
    HEIGHT,
    WIDTH,
    coded,
    compressed,
    refusal,
)

MILLIMETRES = np.random.default_rng(2).integers(0, 60_000, (HEIGHT, WIDTH), np.uint16)
MILLIMETRES[10:30, 5:20] = 0


def rvl(pixels):
    """The code by its description: nibbles of 3 bits, lowest first, packed from the top of little-endian words."""
    nibbles = []

    def write(number):
        while True:
            more = number >> 3
            nibbles.append(number & 7 | (8 if more else 0))
            number = more
            if not number:
                return

    flat, at, last = pixels.reshape(-1).astype(int).tolist(), 0, 0
    while at < len(flat):
        zeros = at
        while at < len(flat) and not flat[at]:
            at += 1
        write(at - zeros)
        first = at
        while at < len(flat) and flat[at]:
            at += 1
        write(at - first)
        for value in flat[first:at]:
            change = value - last
            write(2 * change if change >= 0 else -2 * change - 1)
            last = value
    nibbles += [0] * (-len(nibbles) % 8)
    words = np.array(nibbles, np.uint32).reshape(-1, 8) @ (np.uint32(1) << np.arange(28, -1, -4, dtype=np.uint32))
    return bytes(12) + struct.pack("<II", pixels.shape[1], pixels.shape[0]) + words.astype("<u4").tobytes()


def inverse_depth(depth_m, quantization=100.0, depth_max_m=10.0):
    """What compressed_depth_image_transport makes of metres: its header, and the image of 16 bits."""
    a = quantization * (quantization + 1)
    b = 1 - a / depth_max_m
    known = (depth_m > 0) & (depth_m < depth_max_m)
    quantised = np.where(known, a / np.where(known, depth_m, 1) + b, 0).astype(np.uint16)
    return struct.pack("<iff", 0, a, b), quantised


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("16UC1; png compressed ", coded(".png", MILLIMETRES)),
        ("16UC1; tiff compressed ", coded(".tiff", MILLIMETRES)),
        ("mono16; png compressed ", coded(".png", MILLIMETRES)),
        ("png", coded(".png", MILLIMETRES)),
        ("16UC1; compressedDepth png", bytes(12) + coded(".png", MILLIMETRES)),
        ("16UC1; compressedDepth png", struct.pack("<iff", 0, 9.5, 3.0) + coded(".png", MILLIMETRES)),
        ("16UC1; compressedDepth", bytes(12) + coded(".png", MILLIMETRES) + bytes(100)),
        ("16UC1; compressedDepth png", coded(".png", MILLIMETRES)),  # by publishers that leave the header out
        ("16UC1; compressedDepth rvl", rvl(MILLIMETRES)),
        ("16UC1; compressedDepth rvl", rvl(MILLIMETRES) + bytes(100)),
        ("32FC1; tiff compressed ", coded(".tiff", MILLIMETRES.astype(np.float32) / 1000)),
    ],
)
def test_compressed_depth_is_exact(text, data):
    depth_m = images.depth_from_image(compressed(text, data))
    assert depth_m.dtype == np.float32
    np.testing.assert_array_equal(np.nan_to_num(depth_m), MILLIMETRES.astype(np.float32) / 1000)


@pytest.mark.parametrize("codec", ["png", "rvl"])
def test_quantised_depth_is_near_the_true_one_and_unknown_where_that_is(codec):
    depth_m = np.linspace(0.3, 8, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    depth_m[:4] = np.nan
    header, quantised = inverse_depth(depth_m)
    data = header + (rvl(quantised)[12:] if codec == "rvl" else coded(".png", quantised))
    read_m = images.depth_from_image(compressed(f"32FC1; compressedDepth {codec}", data))
    assert np.isnan(read_m[:4]).all()
    # One step of the quantisation, where the depth is z, is about z * z / a.
    np.testing.assert_array_less(np.abs(read_m - depth_m)[4:], 1.05 * depth_m[4:] ** 2 / (100 * 101))


@pytest.mark.parametrize(
    ("text", "data", "reason"),
    [
        ("32FC1; compressedDepth png", bytes(12) + coded(".png", MILLIMETRES), "unknown depth encoding"),
        ("32FC1; compressedDepth png", coded(".png", MILLIMETRES), "unknown encoding"),
        ("compressedDepth", bytes(12) + coded(".png", MILLIMETRES), "unknown depth encoding"),
        ("16UC1; compressedDepth png", bytes(5), "truncated image"),
        ("16UC1; compressedDepth rvl", bytes(15), "truncated image"),
        ("16UC1; compressedDepth rvl", bytes(20), "zero size"),
        ("16UC1; compressedDepth rvl", rvl(MILLIMETRES)[:-3000], "truncated image"),
        ("16UC1; compressedDepth rvl", rvl(MILLIMETRES)[:20] + bytes(400), "damaged image"),
        ("16UC1; compressedDepth rvl", rvl(MILLIMETRES)[:20] + b"\xff" * 400, "truncated image"),
        ("16UC1; compressedDepth rvl", bytes(12) + struct.pack("<II", 30_000, 30_000) + bytes(9), "too large"),
        ("16UC1; jpeg compressed ", coded(".jpg", GREY), "unknown depth encoding"),
        ("32FC1; png compressed ", coded(".png", MILLIMETRES), "unknown depth encoding"),
        ("png", coded(".png", GREY), "unknown depth encoding"),
        ("jpeg", coded(".jpg", BGR), "unknown depth encoding"),
        ("rgb8; jpeg compressed bgr8", coded(".jpg", BGR), "unknown depth encoding"),
        ("16UC1; png compressed ", coded(".png", np.zeros((4, 4), np.uint16)), "empty depth"),
    ],
)
def test_what_is_no_depth_is_refused_with_its_reason(text, data, reason):
    assert refusal(lambda: images.depth_from_image(compressed(text, data))) == reason


@given(st.binary(max_size=200), st.integers(1, 9), st.integers(1, 9))
def test_any_rvl_data_give_an_image_or_a_reason(data, width, height):
    message = compressed("16UC1; compressedDepth rvl", bytes(12) + struct.pack("<II", width, height) + data)
    with contextlib.suppress(images.UnusableImage):
        assert images.depth_from_image(message).shape == (height, width)

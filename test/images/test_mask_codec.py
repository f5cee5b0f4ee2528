from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.mask_codec import ENCODINGS, EncodedMask, decode_mask, encode_mask

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=24))


@given(masks, st.sampled_from(ENCODINGS))
def test_what_is_encoded_is_decoded(mask, encoding):
    assert np.array_equal(decode_mask(encode_mask(mask, encoding)), mask)


@given(masks, st.sampled_from(ENCODINGS), st.binary(max_size=80))
def test_damaged_data_are_refused_or_give_a_mask_of_the_right_shape(mask, encoding, data):
    try:
        decoded = decode_mask(replace(encode_mask(mask, encoding), data=data))
    except InvalidInput:
        return
    assert decoded.shape == mask.shape


@given(*[st.integers(0, 2**32 - 1)] * 6, st.sampled_from((*ENCODINGS, "jpeg")), st.binary(max_size=80))
def test_any_header_gives_a_mask_or_invalid_input(height, width, x, y, crop_height, crop_width, encoding, data):
    try:
        decoded = decode_mask(EncodedMask(height, width, x, y, crop_height, crop_width, encoding, data))
    except InvalidInput:
        return
    assert decoded.shape == (height, width)


def test_only_the_crop_travels():
    mask = np.zeros((480, 640), bool)
    mask[100:110, 200:230] = True
    encoded = encode_mask(mask, "rle")
    assert (encoded.x_offset, encoded.y_offset) == (200, 100)
    assert (encoded.crop_width, encoded.crop_height) == (30, 10)
    assert np.frombuffer(encoded.data, "<u4").tolist() == [0, 300]


def test_an_empty_mask_has_no_crop_and_no_data():
    encoded = encode_mask(np.zeros((4, 6), bool))
    assert (encoded.crop_height, encoded.crop_width, encoded.data) == (0, 0, b"")
    assert decode_mask(encoded).shape == (4, 6)


@pytest.mark.parametrize(("change", "reason"), [
    ({"x_offset": 630}, "is not inside the 640 x 480 image"),
    ({"crop_height": 9}, "PNG of 30 x 10 pixels; send the crop as PNG of 30 x 9"),
    ({"encoding": "bmp"}, "mask encoding 'bmp'"),
    ({"crop_height": 0}, "for a crop of zero size"),
    ({"height": 2**32 - 1, "width": 2**32 - 1}, "at most"),
])  # fmt: skip
def test_a_bad_field_is_named(change, reason):
    mask = np.zeros((480, 640), bool)
    mask[100:110, 200:230] = True
    with pytest.raises(InvalidInput, match=reason):
        decode_mask(replace(encode_mask(mask), **change))


CROP = np.full((10, 30), 255, np.uint8)


def file_of(suffix, pixels):
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.mark.parametrize(("data", "reason"), [
    (file_of(".bmp", CROP), "BMP of 30 x 10"),
    (file_of(".jpg", CROP), "JPEG of 30 x 10"),
    (file_of(".png", CROP.T), "PNG of 10 x 30"),
    (b"MM" + file_of(".png", CROP)[2:], "unknown encoding"),  # only the size is where a PNG has it
    (file_of(".png", CROP)[:-20], "truncated"),
    (file_of(".png", CROP // 255), "values up to 1; write 255"),
    (file_of(".png", CROP.astype(np.uint16)), "of 16 bits"),
    (file_of(".png", np.dstack([CROP] * 3)), "in colour"),
    (b"", "unknown encoding"),
])  # fmt: skip
def test_data_that_are_no_png_of_the_crop_are_refused(data, reason):
    with pytest.raises(InvalidInput, match=reason):
        decode_mask(EncodedMask(480, 640, 200, 100, 10, 30, "png", data))


def test_padding_after_the_png_is_accepted():
    assert decode_mask(EncodedMask(480, 640, 200, 100, 10, 30, "png", file_of(".png", CROP) + bytes(99))).sum() == 300


@pytest.mark.parametrize("runs", [[0, 2**32 - 1], [0, 2**32 - 1, 2**32 - 1, 2**31], [5], [0, 300, 1]])
def test_run_lengths_beyond_the_crop_take_no_memory(runs):
    data = np.array(runs, "<u4").tobytes()
    with pytest.raises(InvalidInput, match="runs add up"):
        decode_mask(EncodedMask(480, 640, 200, 100, 10, 30, "rle", data))


def test_a_mask_larger_than_any_image_is_refused_before_it_takes_memory():
    with pytest.raises(InvalidInput, match="30000 x 30000 pixels; at most 100 megapixels"):
        decode_mask(EncodedMask(30_000, 30_000, 0, 0, 0, 0, "png", b""))


def test_an_unknown_encoding_is_refused():
    with pytest.raises(InvalidInput, match="png, rle"):
        encode_mask(np.ones((2, 2), bool), "jpeg")


def test_the_png_is_255_inside_and_0_outside():
    mask = np.zeros((6, 8), bool)
    mask[1, 2] = mask[3, 5] = True
    pixels = cv2.imdecode(np.frombuffer(encode_mask(mask).data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.unique(pixels).tolist() == [0, 255]
    encoded = encode_mask(np.zeros((4, 6), bool))
    assert (encoded.x_offset, encoded.y_offset, encoded.crop_width) == (0, 0, 0)


@pytest.mark.parametrize(("value", "inside"), [(0, False), (128, True), (255, True)])
def test_a_png_is_cut_at_half(value, inside):
    data = cv2.imencode(".png", np.full((2, 3), value, np.uint8))[1].tobytes()
    assert decode_mask(EncodedMask(4, 6, 1, 1, 2, 3, "png", data)).any() == inside


@pytest.mark.parametrize("value", [1, 127])
def test_a_png_of_labels_is_refused(value):
    data = cv2.imencode(".png", np.full((2, 3), value, np.uint8))[1].tobytes()
    with pytest.raises(InvalidInput, match="write 255 inside the mask"):
        decode_mask(EncodedMask(4, 6, 1, 1, 2, 3, "png", data))

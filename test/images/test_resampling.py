"""The resizes in numpy against Pillow's and torchvision's, bit for bit."""

import numpy as np
import pytest

from reasonseg_ros.images.resampling import resize_like_pillow, resize_like_torchvision

Image = pytest.importorskip("PIL.Image")
SIZES = [(640, 480), (224, 168), (333, 97), (1, 1), (400, 7), (841, 839), (1280, 720)]
FILTERS = {"bilinear": 2, "bicubic": 3}  # Image.Resampling


@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize("target_wh", [(224, 168), (840, 840), (56, 1), (300, 180)])
@pytest.mark.parametrize("size_wh", SIZES)
def test_it_is_pillow_s(size_wh, target_wh, filter_name):
    rgb = np.random.default_rng(sum(size_wh)).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
    expected = np.asarray(Image.fromarray(rgb).resize(target_wh, Image.Resampling(FILTERS[filter_name])))
    found = resize_like_pillow(rgb, target_wh, filter_name)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous


def test_extremes_do_not_wrap_around():
    rgb = np.zeros((40, 40, 3), np.uint8)
    rgb[::2], rgb[:, ::3] = 255, 255
    for filter_name, resampling in FILTERS.items():
        expected = np.asarray(Image.fromarray(rgb).resize((97, 83), Image.Resampling(resampling)))
        np.testing.assert_array_equal(resize_like_pillow(rgb, (97, 83), filter_name), expected)


def test_the_same_size_is_the_same_image():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    np.testing.assert_array_equal(resize_like_pillow(rgb, (6, 5)), rgb)


@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize("target_wh", [(224, 168), (840, 840), (28, 56), (308, 28), (252, 140)])
@pytest.mark.parametrize("size_wh", [*SIZES, (7, 400)])
def test_it_is_torchvision_s(size_wh, target_wh, filter_name):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    modes = pytest.importorskip("torchvision.transforms").InterpolationMode
    rgb = np.random.default_rng(sum(size_wh)).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
    expected = functional.resize(
        torch.from_numpy(rgb).permute(2, 0, 1), list(target_wh[::-1]), modes(filter_name), antialias=True
    )
    found = resize_like_torchvision(rgb, target_wh, filter_name)
    np.testing.assert_array_equal(found, expected.permute(1, 2, 0).numpy())

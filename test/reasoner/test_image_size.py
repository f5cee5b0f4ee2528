from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.image_size import answer_wh, default_answer_wh, resize_rgb, resized_wh

smart_resize = pytest.importorskip("transformers.models.qwen2_vl.image_processing_qwen2_vl").smart_resize


@settings(max_examples=200, deadline=None)
@given(
    st.integers(20, 3000),
    st.integers(20, 3000),
    st.sampled_from([("qwen2.5-vl", 28), ("qwen3-vl", 32)]),
    st.integers(3136, 50_000),
    st.integers(60_000, 2_000_000),
)
def test_the_resize_is_that_of_the_processors(
    width: int, height: int, dialect: tuple[str, int], least: int, most: int
) -> None:
    expected = smart_resize(height, width, dialect[1], least, most)
    assert resized_wh((width, height), dialect[0], least, most) == expected[::-1]


def test_each_convention_has_its_answer_size() -> None:
    assert answer_wh(load_card("seg-zero-7b", "reasoner"), (99, 99)) == (840, 840)
    assert answer_wh(load_card("qwen2.5-vl-7b", "reasoner"), (644, 476)) == (644, 476)
    assert answer_wh(load_card("qwen3-vl-4b", "reasoner"), (640, 480)) == (1000, 1000)
    assert default_answer_wh("qwen2.5-vl", (640, 480)) == (644, 476)


def test_resizing_squashes_the_whole_image() -> None:
    rgb = np.zeros((480, 640, 3), np.uint8)
    rgb[:, 320:] = 200
    small = resize_rgb(rgb, (84, 84))
    assert small.shape == (84, 84, 3)
    assert (small[:, :41] == 0).all()
    assert (small[:, 43:] == 200).all()
    assert resize_rgb(rgb, (640, 480)) is rgb

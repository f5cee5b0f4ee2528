import numpy as np
import pytest

from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.types import Grounding

RGB = np.zeros((40, 60, 3), np.uint8)


def test_it_fills_the_box() -> None:
    segmenter = ScriptedSegmenter("box", 0.7)
    (filled,) = segmenter.decode(segmenter.encode(RGB), [Grounding([10, 5, 30, 25])])
    assert filled.score == 0.7
    assert filled.mask.sum() == 400 and filled.mask[5:25, 10:30].all()


def test_it_fills_the_ellipse_inside_each_box() -> None:
    segmenter = ScriptedSegmenter()
    one, two = segmenter.decode(segmenter.encode(RGB), [Grounding([10, 5, 30, 25]), Grounding([-10, -10, 20, 20])])
    assert one.mask.sum() == pytest.approx(np.pi * 100, rel=0.15)
    assert one.mask[15, 20] and not one.mask[5, 10]
    assert two.mask.shape == (40, 60) and two.mask[0, 0]


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="star"):
        ScriptedSegmenter("star")

"""`reasonseg models check`: a model on its known picture."""

import numpy as np
import pytest

from reasonseg_ros import cli
from reasonseg_ros.hub.checking import check_segmenter
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.segmenter.port import ScoredMask
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter

CARD = ModelCard("mine", "segmenter", "lab/mine")


def test_masks_that_fill_their_boxes_are_right():
    result = check_segmenter(ScriptedSegmenter(), CARD)
    assert result.is_right and "the red circle: IoU" in result.text


def test_masks_elsewhere_are_wrong_with_the_figures():
    class Shifted(ScriptedSegmenter):
        def decode(self, features, groundings):
            masks = super().decode(features, groundings)
            return [ScoredMask(np.roll(mask.mask, 200, axis=1), mask.score) for mask in masks]

    result = check_segmenter(Shifted(), CARD)
    assert result.state == "wrong" and "3 of 3 masks" in result.text and "IoU 0.00" in result.text


def test_a_card_without_a_picture_is_skipped():
    card = ModelCard("mine", "segmenter", "lab/mine", known_picture="none")
    assert check_segmenter(ScriptedSegmenter(), card).state == "skipped"


@pytest.mark.parametrize("name", ["tabletop-reasoner", "tabletop-segmenter"])
def test_the_embedded_models_are_right_on_their_picture(name, capsys):
    pytest.importorskip("onnxruntime")
    assert cli.main(["models", "check", name]) == 0
    assert f"{name}: " in capsys.readouterr().out

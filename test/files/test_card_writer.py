"""A written card says what the card before it said, also after its folder was moved."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.card_writer import write_card
from reasonseg_ros.model_card import ModelCard, card_names, find_card, load_card
from reasonseg_ros.reasoner.known_picture import read_known_picture

OF_THE_FOLDER = {"name", "source", "known_picture", "vocabulary"}
"""What is another value in another folder."""
OF_THE_SOURCE = {"revision", "parameters_m", "gated", "image_size"}
"""What is about the checkpoint on the hub, or fixed in its weights or graphs."""


def moved(card, tmp_path):
    """The card as read after its folder was moved."""
    (tmp_path / "first").mkdir()
    write_card(card, tmp_path / "first")
    return load_card(str((tmp_path / "first").rename(tmp_path / "second")), card.kind)


@pytest.mark.parametrize("name", card_names())
def test_every_value_is_kept(name, tmp_path):
    card = find_card(name)
    found = moved(card, tmp_path)
    for item in fields(ModelCard):
        if item.name not in OF_THE_FOLDER | OF_THE_SOURCE:
            assert getattr(found, item.name) == getattr(card, item.name), item.name
    assert found.source == str(tmp_path / "second")


def test_limits_of_pixels_are_kept(tmp_path):
    card = replace(find_card("qwen2.5-vl-7b"), min_pixels=3136, max_pixels=401408)
    found = moved(card, tmp_path)
    assert (found.min_pixels, found.max_pixels) == (3136, 401408)


@pytest.mark.parametrize("name", ["tabletop-reasoner", "tabletop-segmenter"])
def test_a_known_picture_comes_along(name, tmp_path):
    card = find_card(name)
    found = moved(card, tmp_path)
    assert found.known_picture == str(tmp_path / "second" / "known_picture.yaml")
    (rgb, targets), (expected_rgb, expected) = (read_known_picture(Path(one.known_picture)) for one in (found, card))
    np.testing.assert_array_equal(rgb, expected_rgb)
    assert [target.question for target in targets] == [target.question for target in expected]
    for target, wanted in zip(targets, expected, strict=True):
        np.testing.assert_array_equal(target.box_xyxy, wanted.box_xyxy)


@pytest.mark.parametrize("kind", ["reasoner", "segmenter"])
def test_no_known_picture_stays_none(kind, tmp_path):
    card = replace(find_card(f"tabletop-{kind}"), known_picture="none")
    assert moved(card, tmp_path).known_picture == "none"


def test_a_vocabulary_comes_along(tmp_path):
    card = find_card("tabletop-reasoner")
    found = moved(card, tmp_path)
    assert found.vocabulary == str(tmp_path / "second" / "vocabulary.txt")
    assert Path(found.vocabulary).read_bytes() == Path(card.vocabulary).read_bytes()


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    card = find_card("tabletop-reasoner")
    with pytest.raises(ModelError, match=r"words\.txt, which the model card names, cannot be copied: No such file"):
        write_card(replace(card, vocabulary="/no/words.txt"), tmp_path)
    with pytest.raises(ModelError, match=r"known picture /no/picture\.yaml cannot be read"):
        write_card(replace(card, known_picture="/no/picture.yaml"), tmp_path)
    (tmp_path / "picture.yaml").write_text("- image")
    with pytest.raises(ModelError, match=r"picture\.yaml cannot be read"):
        write_card(replace(card, known_picture=str(tmp_path / "picture.yaml")), tmp_path)

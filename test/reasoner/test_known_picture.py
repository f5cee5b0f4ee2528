"""Boxes in other coordinates than the card's are found by a picture whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ModelError
from reasonseg_ros.images.files import write_image
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.reasoner.known_picture import PictureResult, check_picture, drawn_picture, read_known_picture
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.types import Answer, Status

Box = tuple[float, float, float, float]
CONFIG = ReasonerConfig()
OWN_WH = {"vision-reasoner-7b": (840, 840), "qwen2.5-vl-7b": (644, 476), "qwen3-vl-8b": (1000, 1000)}


def written(wh: tuple[int, int], order: Callable[..., Box] = lambda *box: box, digits: int = 0) -> list[str]:
    """The answers of a model that writes the true boxes in pixels of an image of `wh`."""
    texts = []
    for target in drawn_picture()[1]:
        box = target.box_xyxy * np.tile(np.array(wh) / (640, 480), 2)
        numbers = [round(float(number), digits) for number in order(*box.tolist())]
        texts.append(f"<think>here</think><answer>{json.dumps([{'bbox_2d': numbers}])}</answer>")
    return texts


def checked(card: ModelCard, texts: list[str]) -> PictureResult:
    reasoner = ScriptedReasoner(texts, dialect=card.dialect, answer_wh=OWN_WH[card.name])
    return check_picture(reasoner, card, CONFIG)


@pytest.mark.parametrize("name", OWN_WH)
def test_right_boxes_pass(name: str) -> None:
    result = checked(load_card(name, "reasoner"), written(OWN_WH[name]))
    assert (result.state, result.text) == ("right", "3 of 3 boxes of the known picture are right")
    assert min(found.iou for found in result.found) > 0.95


SWAPPED: Callable[..., Box] = lambda x1, y1, x2, y2: (y1, x1, y2, x2)  # noqa: E731
SIDES: Callable[..., Box] = lambda x1, y1, x2, y2: (x1, y1, x2 - x1, y2 - y1)  # noqa: E731
CENTRE: Callable[..., Box] = lambda x1, y1, x2, y2: ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)  # noqa: E731


SQUASHED, RESIZED, RELATIVE = OWN_WH


@pytest.mark.parametrize("name", OWN_WH)
@pytest.mark.parametrize(
    ("texts", "words", "own"),
    [
        (written((1000, 1000)), "thousandths of width and height (0-1000),", RELATIVE),
        (written((1, 1), digits=3), "shares of width and height (0-1),", ""),
        (written((100, 100), digits=1), "percent of width and height (0-100),", ""),
        # 640x480 against 644x476 is less than a pixel in a hundred.
        (written((640, 480)), "pixels of the image at 640x480,", RESIZED),
        (written((840, 840)), "pixels of the image at 840x840,", SQUASHED),
        (written((1000, 1000), SWAPPED), "thousandths of width and height (0-1000), x and y swapped,", ""),
        (written((640, 480), SWAPPED), "pixels of the image at 640x480, x and y swapped,", ""),
        (written((1, 1), SWAPPED, 3), "shares of width and height (0-1), x and y swapped,", ""),
        (written((1000, 1000), SIDES), "(0-1000), as x, y, width and height,", ""),
        (written((840, 840), CENTRE), "840x840, as centre, width and height,", ""),
        (written((448, 336)), "pixels of an image of about 448x336,", ""),
        (written((1288, 966)), "pixels of an image of about 1288x966,", ""),
    ],
)
def test_other_coordinates_are_refused_and_named(name: str, texts: list[str], words: str, own: str) -> None:
    result = checked(load_card(name, "reasoner"), texts)
    if name == own:
        assert result.state == "right"
        return
    assert result.state == "wrong" and not result.is_right
    assert "the red circle: expected [450, 50, 571, 171], received" in result.text
    assert words in result.text.partition("look like ")[2]
    expected = result.text.partition(" the card expects ")[2].partition(";")[0]
    assert expected.endswith("(0-1000)" if name == RELATIVE else "{}x{}".format(*OWN_WH[name]))
    assert "\n" not in result.text and len(result.text) < 1000


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["<think>none</think><answer>[]</answer>"], "received no box (no_target: nothing fits)"),
        (["I cannot see it."], "received no box"),
        (["<think>it</think><answer>[{"], "received no box (truncated"),
        ([written((840, 840))[0]], "the blue square: expected [70, 300, 190, 420], received [450, 50, 571, 171]"),
    ],
)
def test_a_model_that_does_not_find_shapes_is_refused(texts: list[str], words: str) -> None:
    result = checked(load_card("vision-reasoner-7b", "reasoner"), texts)
    assert result.state == "wrong"
    assert words in result.text and "look like" not in result.text
    assert "the card expects pixels of the image at 840x840" in result.text


def test_more_boxes_than_the_right_one_do_no_harm() -> None:
    text = written((840, 840))
    more = [one.replace("}]", '}, {"bbox_2d": [1, 2, 30, 40]}]') for one in text]
    assert checked(load_card("vision-reasoner-7b", "reasoner"), more).state == "right"


@pytest.mark.parametrize("status", [Status.UNAVAILABLE, Status.TIMEOUT, Status.OUT_OF_MEMORY, Status.CANCELLED])
def test_a_picture_that_gets_no_answer_is_not_judged(status: Status) -> None:
    reasoner = ScriptedReasoner([Answer(status, raw_text="<think>the", error="it is away")])
    result = check_picture(reasoner, load_card("vision-reasoner-7b", "reasoner"), CONFIG)
    assert (result.state, result.is_right) == ("unanswered", False)
    assert f"{status}: it is away" in result.text
    assert len(reasoner.questions) == 1


def test_a_card_may_have_no_picture_or_its_own(tmp_path: Path) -> None:
    card = load_card("vision-reasoner-7b", "reasoner")
    reasoner = ScriptedReasoner(["[]"])
    skipped = check_picture(reasoner, replace(card, known_picture="none"), CONFIG)
    assert (skipped.state, skipped.is_right, reasoner.questions) == ("skipped", True, [])
    assert "vision-reasoner-7b has no known picture" in skipped.text

    write_image(tmp_path / "bolt.png", np.zeros((100, 200, 3), np.uint8))
    (tmp_path / "bolt.yaml").write_text("image: bolt.png\ntargets: [{question: the bolt, box_xyxy: [9, 8, 50, 40]}]\n")
    (tmp_path / "own.yaml").write_text(
        "kind: reasoner\nsource: a/b\ndialect: qwen3-vl\ncoordinates: relative_1000\nknown_picture: ./bolt.yaml\n"
    )
    own = load_card(str(tmp_path / "own.yaml"), "reasoner")
    reasoner = ScriptedReasoner(['[{"bbox_2d": [45, 80, 250, 400]}]'], dialect="qwen3-vl", answer_wh=(1000, 1000))
    assert check_picture(reasoner, own, CONFIG).state == "right"
    assert reasoner.questions == ["the bolt"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "image: no.png\ntargets: []", "image: p.png\ntargets: []", "image: p.png\ntargets: [1]",
     "image: p.png\ntargets: [{question: a, box_xyxy: [5, 5, 1, 1]}]", "image: p.png\ntargets: [{question: a}]",
     "image: p.png\ntargets: [{question: a, box_xyxy: [.nan, 5, 1, 1]}]", "image: [\n", "targets: 5"],
)  # fmt: skip
def test_a_picture_file_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    write_image(tmp_path / "p.png", np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ModelError, match=r"p\.yaml cannot be used"):
        read_known_picture(tmp_path / "p.yaml")


@pytest.mark.parametrize("value", ["5", "picture.yaml", "[a]"])
def test_a_card_with_a_wrong_picture_is_refused(tmp_path: Path, value: str) -> None:
    lines = "kind: reasoner\nsource: a/b\ndialect: qwen3-vl\ncoordinates: relative_1000\n"
    (tmp_path / "own.yaml").write_text(f"{lines}known_picture: {value}\n")
    with pytest.raises(ModelError, match="known_picture"):
        load_card(str(tmp_path / "own.yaml"), "reasoner")


def test_the_embedded_reasoner_knows_its_own_picture() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from reasonseg_ros.reasoner.loading import load_reasoner

    config = ReasonerConfig(device="cpu")
    result = check_picture(load_reasoner(config), load_card(config.model, "reasoner"), config)
    assert result.state == "right", result.text
    assert len(result.found) == 3 and min(found.iou for found in result.found) > 0.7

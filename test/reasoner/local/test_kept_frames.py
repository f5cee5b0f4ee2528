"""Frames whose prompt is kept: the next question about one of them gets the answer that it would get without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.types import Frame
from test.reasoner.local.on_cpu import config

pytest.importorskip("torch")
pytest.importorskip("transformers")
LocalReasoner = pytest.importorskip("reasonseg_ros.reasoner.local.reasoner").LocalReasoner

QUESTIONS = ("what is red", "what is blue", "find the mug", "what is red", "find the mug that holds coffee")


def texts(reasoner: Any, frame: Frame, questions: tuple[str, ...] = QUESTIONS) -> list[str]:
    return [reasoner.answer(frame, question).raw_text for question in questions]


def test_a_frame_is_read_once_and_answers_stay_the_same(
    checkpoint: Path, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Frame(frame.rgb[::-1].copy())
    forgetful = load_reasoner(config(checkpoint, kept_frames=0))
    expected = [texts(forgetful, one) for one in (frame, other)]
    assert expected[0] != expected[1]

    reasoner = load_reasoner(config(checkpoint, kept_frames=1))
    reads = []
    prefill = reasoner._decoder.prefill
    monkeypatch.setattr(reasoner._decoder, "prefill", lambda inputs: reads.append(1) or prefill(inputs))
    assert texts(reasoner, frame) == expected[0]
    assert len(reads) == 1
    reasoner.prepare(other)
    assert len(reads) == 2
    assert texts(reasoner, other) == expected[1]
    reasoner.prepare(other)
    assert len(reads) == 2
    # The first one was put out by the other, which has the same size.
    assert texts(reasoner, frame) == expected[0]
    assert len(reads) == 3
    # The same pixels in another place are another image.
    assert texts(reasoner, Frame(frame.rgb.copy())) == expected[0]
    assert len(reads) == 4


@pytest.mark.parametrize("prompt", ["{query}", 'Please find "{query}" in the image.', "the mug{query}s, if any"])
def test_words_that_join_the_question_are_read_rightly(checkpoint: Path, frame: Frame, prompt: str) -> None:
    card = replace(load_card(str(checkpoint), "reasoner"), prompt=prompt)
    forgetful = LocalReasoner(card, config(checkpoint, kept_frames=0))
    reasoner = LocalReasoner(card, config(checkpoint))
    reasoner.prepare(frame)
    assert texts(reasoner, frame) == texts(forgetful, frame)
    for question in QUESTIONS:
        words = reasoner._words(reasoner.messages(question))
        kept = reasoner._kept.read(frame.rgb, words, reasoner._inputs_about(frame)).prompt.tokens
        assert kept.tolist() == reasoner._inputs_about(frame)(words)[0]["input_ids"].tolist()


def test_a_prompt_that_asks_before_the_image_is_not_prepared(checkpoint: Path, frame: Frame) -> None:
    card = replace(load_card(str(checkpoint), "reasoner"), system="You are asked {query}.")
    reasoner = LocalReasoner(card, config(checkpoint))
    reasoner.prepare(frame)
    assert len(reasoner._kept._readings) == 0
    assert texts(reasoner, frame) == texts(LocalReasoner(card, config(checkpoint, kept_frames=0)), frame)

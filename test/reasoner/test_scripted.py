from __future__ import annotations

import time

import numpy as np
import pytest

from reasonseg_ros.errors import ModelError
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.types import Answer, Frame, Status

FRAME = Frame(np.zeros((480, 640, 3), np.uint8))
TEXT = '<think>the mug holds coffee</think> <answer>[{"bbox_2d": [10, 20, 110, 220]}]</answer>'


def test_texts_come_in_turn_in_pixels_of_the_image() -> None:
    reasoner = ScriptedReasoner([TEXT, "<answer>[]</answer>"])
    first, second, third = (reasoner.answer(FRAME, text) for text in "abc")
    np.testing.assert_allclose(first.groundings[0].box_xyxy, [10, 20, 110, 220])
    assert (second.status, third.status) == (Status.NO_TARGET, Status.OK)
    assert reasoner.questions == ["a", "b", "c"]


def test_it_streams_word_by_word() -> None:
    heard: list[tuple[str, int]] = []
    call = Call(on_text=lambda text, tokens: heard.append((text, tokens)))
    answer = ScriptedReasoner([TEXT]).answer(FRAME, "a", call)
    assert heard[0] == ("<think>the", 1)
    assert heard[-1] == (TEXT, answer.tokens)
    assert all(TEXT.startswith(text) for text, _ in heard)
    assert [tokens for _, tokens in heard] == list(range(1, answer.tokens + 1))


def test_cancel_acts_between_words() -> None:
    heard: list[str] = []
    answer = ScriptedReasoner([TEXT]).answer(
        FRAME, "a", Call(on_text=lambda text, _: heard.append(text), cancelled=lambda: len(heard) == 2)
    )
    assert (answer.status, answer.tokens, answer.thought) == (Status.CANCELLED, 2, "the mug")


def test_time_and_token_limits() -> None:
    start_s = time.monotonic()
    late = ScriptedReasoner([TEXT], word_s=100.0).answer(FRAME, "a", Call(time_limit_s=0.05))
    assert late.status is Status.TIMEOUT
    assert "0.05 s" in late.error
    assert time.monotonic() - start_s < 60
    assert ScriptedReasoner([TEXT]).answer(FRAME, "a", Call(max_new_tokens=5)).status is Status.TRUNCATED


def test_an_answer_is_returned_and_an_error_is_raised_in_its_turn() -> None:
    given = Answer(Status.UNAVAILABLE, error="it is away")
    reasoner = ScriptedReasoner([given, ModelError("broken weights"), TEXT, given])
    assert reasoner.answer(FRAME, "a") is given
    with pytest.raises(ModelError, match="broken weights"):
        reasoner.answer(FRAME, "b")
    assert reasoner.answer(FRAME, "c").status is Status.OK
    keyframe = reasoner.choose([FRAME], "d")
    assert (keyframe.status, keyframe.error) == (Status.UNAVAILABLE, "it is away")

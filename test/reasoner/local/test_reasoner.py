"""The local reasoner, on a checkpoint with random weights: everything but what the words mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.limits import Limits
from reasonseg_ros.reasoner.loading import load_reasoner, with_dialect
from reasonseg_ros.types import Frame, Status
from test.reasoner.local.on_cpu import config

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
LocalReasoner = pytest.importorskip("reasonseg_ros.reasoner.local.reasoner").LocalReasoner
DecodedRow = pytest.importorskip("reasonseg_ros.reasoner.local.generation").DecodedRow

ANSWER = '<think>it is red</think><answer>[{"bbox_2d":[20,10,120,110],"point_2d":[70,60]}]</answer>'


@pytest.fixture(scope="module")
def reasoner(checkpoint: Path) -> Any:
    return load_reasoner(config(checkpoint))


@pytest.fixture
def speaking(reasoner: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The reasoner with its decoding replaced by one that says ANSWER, token by token."""

    tokens = reasoner.processor.tokenizer(ANSWER + "<|im_end|>")["input_ids"]

    def continued(prompt: Any, max_new_tokens: int, go_on: Any) -> list[Any]:
        said = tokens[:max_new_tokens]
        heard = [count for count in range(1, len(said) + 1) if go_on([said[:count]])]
        return [DecodedRow(said[: len(heard)], [0.5] * len(heard))]

    monkeypatch.setattr(reasoner._decoder, "continued", continued)
    return reasoner


def test_boxes_come_back_in_pixels_of_the_camera_image(speaking: Any, frame: Frame) -> None:
    answer = speaking.answer(frame, "What is red?", Call(max_new_tokens=200))
    assert answer.status is Status.OK, answer.error
    scale = np.array([640 / 224, 480 / 168] * 2)
    np.testing.assert_allclose(answer.groundings[0].box_xyxy, np.array([20, 10, 120, 110]) * scale, rtol=1e-5)
    assert (answer.thought, answer.model, answer.error) == ("it is red", "random-reasoner", "")
    assert answer.tokens > 5
    tokens = speaking.processor.tokenizer(ANSWER)["input_ids"]
    thought = next(n for n in range(len(tokens)) if "</think>" in speaking.processor.tokenizer.decode(tokens[:n]))
    assert answer.entropy_nats == 0.5 * thought > 1.0


def test_the_image_is_squashed_as_the_card_says(reasoner: Any) -> None:
    frame = Frame(np.zeros((100, 500, 3), np.uint8))
    inputs, seen_wh = reasoner._inputs_about(frame)(reasoner._words(reasoner.messages("what is red")))
    assert seen_wh == [(224, 168)]
    words = reasoner.processor.tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True)
    assert words == "system\nYou are a helpful assistant.\nuser\nwhat is red\nassistant\n"


def test_strict_reading_repairs_nothing(speaking: Any, frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    all_but_the_end = speaking.answer(frame, "a", Call(max_new_tokens=200)).tokens - 2
    cut = speaking.answer(frame, "a", Call(max_new_tokens=all_but_the_end))
    assert (cut.status, "cut off" in cut.error) == (Status.OK, True)
    monkeypatch.setattr(speaking, "config", replace(speaking.config, strict=True))
    assert speaking.answer(frame, "a", Call(max_new_tokens=200)).status is Status.OK
    assert speaking.answer(frame, "a", Call(max_new_tokens=all_but_the_end)).status is Status.UNPARSABLE


def test_text_streams_token_by_token(speaking: Any, frame: Frame) -> None:
    heard: list[tuple[str, int]] = []
    call = Call(max_new_tokens=200, on_text=lambda text, tokens: heard.append((text, tokens)))
    answer = speaking.answer(frame, "a", call)
    assert [tokens for _, tokens in heard] == list(range(1, answer.tokens + 1))
    assert all(ANSWER.startswith(text) for text, _ in heard)


def test_random_weights_run_into_the_token_limit(reasoner: Any, frame: Frame) -> None:
    answer = reasoner.answer(frame, "what is red", Call(max_new_tokens=7))
    assert (answer.tokens, answer.groundings) == (7, ())
    assert answer.status is Status.TRUNCATED
    again = reasoner.answer(frame, "what is red", Call(max_new_tokens=7))
    assert again.raw_text == answer.raw_text


def test_the_cards_token_limit_is_the_default(reasoner: Any, frame: Frame) -> None:
    assert reasoner.answer(frame, "what is red").tokens <= 12


def test_cancel_acts_between_tokens(reasoner: Any, frame: Frame) -> None:
    heard: list[int] = []
    answer = reasoner.answer(
        frame, "a", Call(on_text=lambda _, tokens: heard.append(tokens), cancelled=lambda: len(heard) == 3)
    )
    assert (answer.status, answer.tokens) == (Status.CANCELLED, 3)
    assert reasoner.answer(frame, "a", Call(cancelled=lambda: True)).tokens == 0


def test_the_time_limit_ends_in_timeout(reasoner: Any, frame: Frame) -> None:
    answer = reasoner.answer(frame, "a", Call(time_limit_s=1e-6))
    assert answer.status is Status.TIMEOUT
    assert "raise the time limit" in answer.error


def layers_of(reasoner: Any, part: str) -> Any:
    return {"image": reasoner.model.model.visual.blocks, "text": reasoner.model.model.language_model.layers}[part]


@pytest.mark.parametrize("part", ["image", "text"])
@pytest.mark.parametrize("ask", ["alone", "batch", "reply"])
def test_a_limit_stops_the_prefill_between_layers(
    reasoner: Any, part: str, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = Frame(np.random.default_rng(4).integers(0, 255, (480, 640, 3), np.uint8))  # one that is not kept
    first, second = layers_of(reasoner, part)[:2]
    ran: list[str] = []
    handles = [
        first.register_forward_hook(lambda *_: ran.append("first")),
        second.register_forward_hook(lambda *_: ran.append("second")),
    ]
    late = "first"
    monkeypatch.setattr(Limits, "broken", lambda limits: Status.TIMEOUT if late in ran else None)
    try:
        if ask == "alone":
            answer = reasoner.answer(frame, "what is red", Call(max_new_tokens=5))
        elif ask == "batch":
            answer = reasoner.answer_batch([frame, frame], ["a", "b"], Call(max_new_tokens=5))[1]
        else:
            answer = reasoner.reply([frame.rgb], "what do you see?", Call(max_new_tokens=5))
        assert (ran, answer.status) == (["first"], Status.TIMEOUT)
        assert "raise the time limit" in answer.error
        late = "never"
        ran.clear()
        whole = reasoner.answer(frame, "what is red", Call(max_new_tokens=5))
        assert whole.tokens and ran[:2] == ["first", "second"]
    finally:
        for handle in handles:
            handle.remove()


def test_a_stopped_prefill_leaves_nothing_behind(reasoner: Any, frame: Frame) -> None:
    other = Frame(frame.rgb[:, ::-1].copy())
    asked = iter([False] * 3 + [True])
    assert reasoner.answer(other, "a", Call(cancelled=lambda: next(asked))).status is Status.CANCELLED
    assert not any(layer._forward_pre_hooks for part in ("image", "text") for layer in layers_of(reasoner, part))
    alone = reasoner.answer_batch([other], ["what is red"], Call(max_new_tokens=7))[0]
    assert reasoner.answer(other, "what is red", Call(max_new_tokens=7)).raw_text == alone.raw_text


def test_a_batch_gets_the_same_answers(reasoner: Any, frame: Frame) -> None:
    other = Frame(frame.rgb[::-1])
    frames = [frame, other, frame, frame]
    texts = ["what is red", "the mug that holds the hot coffee", "", "find everything"]
    together = reasoner.answer_batch(frames, texts, Call(max_new_tokens=7))
    alone = [reasoner.answer(*asked, Call(max_new_tokens=7)) for asked in zip(frames, texts, strict=True)]
    assert [(one.status, one.raw_text, one.tokens) for one in together] == [
        (one.status, one.raw_text, one.tokens) for one in alone
    ]
    assert together[2].status is Status.REFUSED
    assert reasoner.answer_batch([frame], ["a"], Call(time_limit_s=1e-6))[0].status is Status.TIMEOUT
    assert [one.status for one in reasoner.answer_batch([frame], [""])] == [Status.REFUSED]


def test_a_chat_may_hold_several_images(reasoner: Any, frame: Frame) -> None:
    content = [{"type": "image"}, {"type": "text", "text": "before, and now"}, {"type": "image"}]
    images = [frame.rgb[:168, :224], frame.rgb[:224, :168]]
    limits = Limits.of(Call(max_new_tokens=3), reasoner.card, reasoner.config)
    speech = reasoner.say([{"role": "user", "content": content}], images, limits)
    assert (speech.tokens, speech.cut, speech.broken) == (3, True, None)
    assert speech.seen_wh == [(224, 168), (168, 224)]


@pytest.mark.parametrize("text", ["", "the <|image_pad|> mug", "\x00"])
def test_a_question_that_cannot_be_asked_is_refused(reasoner: Any, frame: Frame, text: str) -> None:
    assert reasoner.answer(frame, text).status is Status.REFUSED


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), Status.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), Status.OUT_OF_MEMORY),
        (MemoryError(), Status.OUT_OF_MEMORY),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), Status.FAILED),
    ],
)
def test_after_a_failure_the_next_question_works(
    reasoner: Any, frame: Frame, monkeypatch: pytest.MonkeyPatch, error: Exception, status: Status
) -> None:
    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(reasoner._decoder, "continued", fail)
        answer = reasoner.answer(frame, "a")
    assert answer.status is status
    assert type(error).__name__ in answer.error
    assert reasoner.answer(frame, "a", Call(max_new_tokens=2)).tokens == 2


def test_an_image_too_thin_for_the_processor_is_a_failure_not_a_crash(checkpoint: Path) -> None:
    card = replace(load_card(str(checkpoint), "reasoner"), image_size_wh=None, coordinates="resized")
    reasoner = LocalReasoner(card, config(checkpoint))
    answer = reasoner.answer(Frame(np.zeros((2, 900, 3), np.uint8)), "a")
    assert answer.status is Status.FAILED
    assert "aspect ratio" in answer.error


def test_without_squash_coordinates_are_those_of_the_processors_image(checkpoint: Path) -> None:
    card = replace(load_card(str(checkpoint), "reasoner"), image_size_wh=None, coordinates="resized")
    reasoner = LocalReasoner(card, config(checkpoint, min_pixels=784, max_pixels=28 * 28 * 30))
    frame = Frame(np.zeros((480, 640, 3), np.uint8))
    _, seen_wh = reasoner._inputs_about(frame)(reasoner._words(reasoner.messages("a")))
    assert seen_wh == [(168, 112)]


def test_bfloat16_runs_on_the_cpu_too(checkpoint: Path, frame: Frame) -> None:
    reasoner = load_reasoner(config(checkpoint, dtype="bfloat16"))
    assert reasoner.model.dtype is torch.bfloat16
    assert reasoner.answer(frame, "a", Call(max_new_tokens=2)).tokens == 2


def test_another_attention_goes_through_generate(
    checkpoint: Path, reasoner: Any, frame: Frame, caplog: pytest.LogCaptureFixture
) -> None:
    eager = load_reasoner(config(checkpoint, attention="eager"))
    assert "its attention is eager" in caplog.text
    eager.prepare(frame)
    answers = [one.answer(frame, "what is red", Call(max_new_tokens=7)) for one in (eager, reasoner)]
    assert answers[0].raw_text == answers[1].raw_text
    heard: list[int] = []
    stopped = eager.answer(
        frame, "a", Call(on_text=lambda _, tokens: heard.append(tokens), cancelled=lambda: len(heard) == 3)
    )
    assert (stopped.status, stopped.tokens) == (Status.CANCELLED, 3)


def test_another_dialect_brings_its_own_words_and_pixels() -> None:
    card = load_card("tabletop-reasoner", "reasoner")
    assert with_dialect(card, "auto") is card
    assert with_dialect(card, "vision_reasoner") is card
    other = with_dialect(load_card("qwen2.5-vl-3b", "reasoner"), "seg_zero")
    assert (other.image_size_wh, other.coordinates) == ((840, 840), "squashed")
    assert other.source == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert "points_1" in other.prompt

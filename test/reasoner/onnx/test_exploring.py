"""Sampled answers and attention of the ONNX Runtime backend, against plain decoding, scipy and torch."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.abilities import Ability, Exploration
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.known_picture import read_known_picture
from reasonseg_ros.reasoner.limits import Limits
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.reasoner.onnx.choosing import Chooser, Draws, log_probabilities
from reasonseg_ros.reasoner.onnx.exploring import grow
from reasonseg_ros.reasoner.onnx.reasoner import OnnxReasoner
from reasonseg_ros.types import Frame, Status

QUESTION = "the thing to drink from"


@pytest.fixture(scope="module")
def reasoner() -> Any:
    return load_reasoner(ReasonerConfig(backend="onnxruntime"))


@pytest.fixture(scope="module")
def picture() -> Frame:
    card = load_card("tabletop-reasoner", "reasoner")
    return Frame(read_known_picture(Path(card.known_picture))[0])


def alone(reasoner: Any, frame: Frame, member: int, wanted: Exploration, most: int) -> list[int]:
    """A sample decoded by itself, from a prompt that is read for it."""
    prompt, logits = reasoner._read_about(frame, QUESTION)
    generator = np.random.default_rng((wanted.seed, member))
    said: list[int] = []
    while len(said) < most and (not said or said[-1] not in reasoner.manifest.end_tokens):
        fair = Chooser(reasoner.manifest.repetition_penalty, [*prompt, *said]).fair(logits)
        said.append(Draws(log_probabilities(fair), wanted.temperature).draw(generator))
        logits = reasoner._text.next(said[-1])
    return said


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_sharing_tokens_changes_no_sample(reasoner: Any, picture: Frame, temperature: float) -> None:
    wanted = Exploration(samples=4, temperature=temperature, seed=3)
    prompt, logits = reasoner._read_about(picture, QUESTION)
    branches = grow(reasoner._text, reasoner.manifest, prompt, logits, wanted, 24, lambda _: True)
    found = {member: list(branch.tokens) for branch in branches for member in branch.members}
    assert sorted(found) == list(range(5))
    greedy = reasoner.say_about(picture, QUESTION, Limits(24, 600.0))
    assert reasoner._words.text(found[0]) == greedy.text
    for member in range(1, 5):
        assert found[member] == alone(reasoner, picture, member, wanted, 24)
    if temperature > 1:
        assert len({tuple(tokens) for tokens in found.values()}) == 5


def test_the_answer_is_that_of_answer_and_the_same_seed_gives_the_same_samples(reasoner: Any, picture: Frame) -> None:
    wanted = Exploration(samples=3, temperature=2.0, seed=7, attention=True)
    heard: list[str] = []
    one = reasoner.explore(picture, QUESTION, wanted, Call(on_text=lambda text, _: heard.append(text)))
    again = reasoner.explore(picture, QUESTION, wanted)
    direct = reasoner.answer(picture, QUESTION)
    assert (one.answer.raw_text, one.answer.entropy_nats) == (direct.raw_text, pytest.approx(direct.entropy_nats))
    assert heard[-1] == direct.raw_text and heard == sorted(heard, key=len)
    assert [sample.raw_text for sample in one.samples] == [sample.raw_text for sample in again.samples]
    assert len(one.samples) == 3
    other = reasoner.explore(picture, QUESTION, Exploration(samples=3, temperature=2.0, seed=8))
    assert [sample.raw_text for sample in other.samples] != [sample.raw_text for sample in one.samples]
    assert other.attention is None and one.attention is not None


def test_the_attention_of_the_embedded_reasoner_is_on_its_target(reasoner: Any, picture: Frame) -> None:
    explored = reasoner.explore(picture, QUESTION, Exploration(attention=True))
    assert explored.attention is not None and explored.attention.shape == (6, 8)
    row, column = np.unravel_index(explored.attention.argmax(), (6, 8))
    x, y = (column + 0.5) * picture.size_wh[0] / 8, (row + 0.5) * picture.size_wh[1] / 6
    reach = picture.size_wh[0] / 16
    boxes = [grounding.box_xyxy for grounding in explored.answer.groundings]
    assert any(x1 - reach < x < x2 + reach and y1 - reach < y < y2 + reach for x1, y1, x2, y2 in boxes)


def test_draws_follow_the_distribution() -> None:
    logits = np.array([0.0, 1.0, 2.0, -np.inf, 0.5], np.float32)
    logarithms = log_probabilities(logits)
    generator = np.random.default_rng(0)
    for temperature in (0.5, 1.0, 2.0):
        draws = Draws(logarithms, temperature)
        counts = np.bincount([draws.draw(generator) for _ in range(4000)], minlength=5)
        weights = np.exp(logits.astype(np.float64) / temperature)
        expected = 4000 * weights / weights.sum()
        assert counts[3] == 0
        assert stats.chisquare(counts[weights > 0], expected[weights > 0]).pvalue > 1e-4


def test_a_cold_draw_is_the_likeliest_token() -> None:
    logits = np.array([0.0, 5.0, 4.9], np.float32)
    draws = Draws(log_probabilities(logits), 0.01)
    assert {draws.draw(np.random.default_rng(seed)) for seed in range(50)} == {1}


def test_a_cancelled_exploration_ends_and_late_samples_are_left_out(reasoner: Any, picture: Frame) -> None:
    cancelled = reasoner.explore(picture, QUESTION, Exploration(samples=2), Call(cancelled=lambda: True))
    assert (cancelled.answer.status, cancelled.samples) == (Status.CANCELLED, ())
    direct = reasoner.answer(picture, QUESTION)
    asked: list[int] = []

    def late() -> bool:
        asked.append(1)
        return len(asked) > direct.tokens + 4

    found = reasoner.explore(picture, QUESTION, Exploration(samples=8, temperature=3.0), Call(cancelled=late))
    assert found.answer.raw_text == direct.raw_text and len(found.samples) < 8


def test_exports_of_earlier_versions_answer_and_have_no_attention(
    reasoner: Any, picture: Frame, tmp_path: Path
) -> None:
    card = load_card("tabletop-reasoner", "reasoner")
    folder = tmp_path / "earlier"
    shutil.copytree(card.source, folder)
    manifest = json.loads((folder / "graphs.json").read_text())
    assert manifest.pop("attention_layers") == [2, 3, 4]
    (folder / "graphs.json").write_text(json.dumps(manifest))
    earlier = OnnxReasoner(replace(card, source=str(folder)), ReasonerConfig())
    assert earlier.abilities == {Ability.SAMPLES, Ability.REPLIES}
    assert earlier.answer(picture, QUESTION).raw_text == reasoner.answer(picture, QUESTION).raw_text
    with pytest.raises(ConfigError, match="tabletop-reasoner gives no attention"):
        earlier.explore(picture, QUESTION, Exploration(attention=True))


@pytest.fixture(scope="module")
def pair(exported: Path) -> tuple[Any, Any]:
    shared = {"model": str(exported), "device": "cpu", "dtype": "float32"}
    return tuple(load_reasoner(ReasonerConfig(backend=name, **shared)) for name in ("local", "onnxruntime"))


@pytest.fixture
def noise() -> Frame:
    return Frame(np.random.default_rng(5).integers(0, 256, (480, 640, 3), np.uint8))


def test_the_attention_is_that_of_torch(pair: tuple[Any, Any], noise: Frame) -> None:
    expected, found = (one.explore(noise, QUESTION, Exploration(attention=True)) for one in pair)
    assert found.answer.raw_text == expected.answer.raw_text
    np.testing.assert_allclose(found.attention, expected.attention, rtol=2e-3, atol=1e-6)


def test_the_likelihood_is_that_of_the_tokens(pair: tuple[Any, Any], noise: Frame) -> None:
    torch = pytest.importorskip("torch")
    local, onnx = pair
    prompt, logits = onnx._read_about(noise, QUESTION)
    (branch,) = grow(onnx._text, onnx.manifest, prompt, logits, Exploration(), 12, lambda _: True)
    inputs, _ = local._inputs_about(noise)(local._words(local.messages(QUESTION)))
    ids = torch.cat([inputs["input_ids"], torch.tensor([branch.tokens])], 1)
    whole = dict(inputs) | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in whole:
        zeros = torch.zeros(1, len(branch.tokens), dtype=inputs["mm_token_type_ids"].dtype)
        whole["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], zeros], 1)
    local.model.model.rope_deltas = None
    with torch.inference_mode():
        steps = local.model(**whole).logits[0, len(prompt) - 1 : -1].float().numpy()
    total = 0.0
    for index, token in enumerate(branch.tokens):
        fair = Chooser(onnx.manifest.repetition_penalty, [*prompt, *branch.tokens[:index]]).fair(steps[index])
        total += float(log_probabilities(fair)[token])
    assert branch.log_likelihood_nats == pytest.approx(total, rel=1e-3, abs=1e-2)

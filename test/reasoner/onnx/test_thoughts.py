"""Thoughts with their hidden states, against transformers' own forward over the same words."""

from __future__ import annotations

import numpy as np
import pytest

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.files.resources import resource
from reasonseg_ros.images.files import read_image
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.reasoner.thoughts import Thought
from reasonseg_ros.types import Answer, Frame, Status

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
QUESTIONS = ("the red one", "something to read a story")


@pytest.fixture(scope="module")
def reasoner():
    return load_reasoner(ReasonerConfig(backend="onnxruntime", threads=1))


@pytest.fixture(scope="module")
def frame():
    return Frame(read_image(resource("models/tabletop/known_picture.jpg")))


def test_states_and_attention_are_those_of_transformers(reasoner, frame):
    local = load_reasoner(ReasonerConfig(backend="local", device="cpu", dtype="float32", threads=1))
    local.model.set_attn_implementation("eager")  # the only one that returns its weights
    for question in QUESTIONS:  # the second is read behind the image that is kept
        thought = reasoner.think(frame, question)
        assert isinstance(thought, Thought)
        words = local._words(local.messages(question)) + thought.text
        inputs, _ = local._inputs([words], [local.shown(frame)])
        with torch.inference_mode():
            found = local.model(**inputs, output_hidden_states=True, output_attentions=True)
        count = len(thought.states)
        np.testing.assert_allclose(thought.states, found.hidden_states[-1][0, -count:].numpy(), atol=2e-3)
        is_image = inputs["input_ids"][0] == local.model.config.image_token_id
        weights = sum(found.attentions[layer][0].sum(0) for layer in reasoner.manifest.attention_layers)
        expected = weights[-count:, is_image].reshape(count, 6, 8)
        np.testing.assert_allclose(thought.attention, expected.numpy(), atol=2e-3)


def test_a_thought_is_the_beginning_of_the_answer(reasoner, frame):
    for question in QUESTIONS:
        thought, answer = reasoner.think(frame, question), reasoner.answer(frame, question)
        assert answer.raw_text.startswith(thought.text) and "</think>" in thought.text
        assert thought.states.shape == (thought.tokens + 1, reasoner.state_width) and thought.tokens < answer.tokens
        assert thought.entropy_nats == pytest.approx(answer.entropy_nats, abs=1e-3)
        assert thought.image_features.shape == (6, 8, reasoner.state_width)


def test_it_ends_as_answers_end(reasoner, frame):
    cancelled = reasoner.think(frame, QUESTIONS[0], Call(cancelled=lambda: True))
    assert isinstance(cancelled, Answer) and cancelled.status is Status.CANCELLED
    cut = reasoner.think(frame, QUESTIONS[0], Call(max_new_tokens=3))
    assert cut.status is Status.TRUNCATED and "max_new_tokens" in cut.error
    assert reasoner.think(frame, " ").status is Status.REFUSED


def test_a_reasoner_without_hidden_states_says_so(frame):
    scripted = ScriptedReasoner(["<think>x</think>"])
    refused = scripted.think(frame, "what?")
    assert (refused.status, scripted.state_width) == (Status.REFUSED, 0)
    assert "onnxruntime" in refused.error

"""Answers of servers with, without and with unusable log-probabilities, over a socket."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.abilities import Exploration
from reasonseg_ros.reasoner.server.reasoner import ServerReasoner
from reasonseg_ros.types import Frame, Status
from test.loopback import serving

TOKENS = ["<think>", "it ", "is ", "red", "</think>", '<answer>[{"bbox_2d":[84,84,420,420],', '"point_2d":[200,200]}]',
          "</answer>"]  # fmt: skip
TRUE_NATS = 5 * math.log(2)
"""Of the thought, whose five tokens are one of two equally likely ones each."""
Answering = Callable[[dict[str, Any]], tuple[int, str, list[Any]]]


def listed(text: str, **changes: Any) -> dict[str, Any]:
    half = {"token": text, "logprob": math.log(0.5), "bytes": list(text.encode())}
    return {**half, "top_logprobs": [half, {**half, "token": "other"}], **changes}


def whole(request: dict[str, Any], **changes: Any) -> tuple[int, str, list[Any]]:
    """One JSON object, as from a server that does not stream."""
    choice: dict[str, Any] = {"message": {"content": "".join(TOKENS)}, "finish_reason": "stop"}
    if request.get("logprobs"):
        choice["logprobs"] = {"content": [listed(token, **changes) for token in TOKENS]}
    return 200, "application/json", [{"choices": [choice]}]


def stream(request: dict[str, Any], **changes: Any) -> tuple[int, str, list[Any]]:
    chunks: list[Any] = [{"delta": {"role": "assistant"}, "logprobs": None}]
    for token in TOKENS:
        odds = {"content": [listed(token, **changes)]} if request.get("logprobs") else None
        chunks.append({"delta": {"content": token}, "logprobs": odds})
    chunks.append({"delta": {}, "finish_reason": "stop", "logprobs": None})
    return 200, "text/event-stream", [{"choices": [chunk]} for chunk in chunks]


def thinking_apart(request: dict[str, Any]) -> tuple[int, str, list[Any]]:
    """As vLLM with a reasoning parser: the marks of the thought are only among the tokens."""
    chunks: list[Any] = []
    for index, token in enumerate(TOKENS):
        name = "reasoning_content" if index < 4 else "content"
        text = "" if token in ("<think>", "</think>") else token
        chunks.append({"delta": {name: text}, "logprobs": {"content": [listed(token)]}})
    chunks.append({"delta": {}, "finish_reason": "stop"})
    return 200, "text/event-stream", [{"choices": [chunk]} for chunk in chunks]


def refusing(status: int) -> Answering:
    def answer(request: dict[str, Any]) -> tuple[int, str, list[Any]]:
        if "logprobs" in request:
            return status, "application/json", [{"error": {"message": "logprobs are not supported"}}]
        return stream(request)

    return answer


@pytest.fixture
def server() -> Iterator[Any]:
    class Handler(BaseHTTPRequestHandler):
        server: Any

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.requests.append(request)
            status, kind, values = self.server.answering(request)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            for value in values:
                text = json.dumps(value)
                self.wfile.write((f"data: {text}\n\n" if kind == "text/event-stream" else text).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler, requests=[], answering=stream) as instance:
        yield instance


def reasoner_for(server: Any, **changes: Any) -> ServerReasoner:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    config = ReasonerConfig(backend="server", server_url=url, server_retries=0)
    return ServerReasoner(load_card("vision-reasoner-7b", "reasoner"), replace(config, **changes))


@pytest.mark.parametrize("answering", [stream, whole, thinking_apart])
def test_the_entropy_of_a_thought_is_heard(server: Any, frame: Frame, answering: Answering) -> None:
    server.answering = answering
    answer = reasoner_for(server).answer(frame, "what is red")
    assert (answer.status, answer.thought, answer.no_entropy) == (Status.OK, "it is red", "")
    assert answer.entropy_nats == pytest.approx(TRUE_NATS)
    assert (server.requests[0]["logprobs"], server.requests[0]["top_logprobs"]) == (True, 20)


@pytest.mark.parametrize("answering", [stream, whole])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"logprob": "-0.5"}, "no negative numbers"), ({"logprob": 3.0}, "no negative numbers"),
        ({"logprob": float("inf")}, "no negative numbers"), ({"logprob": float("nan")}, "no negative numbers"),
        ({"top_logprobs": None}, "in another format"), ({"top_logprobs": [{"logprob": -0.6}]}, "of 1 tokens at each"),
        ({"top_logprobs": [{"logprob": -0.6}, {}]}, "no negative numbers"), ({"token": 7}, "in another format"),
        ({"token": "x"}, "of another text"),
    ],
)  # fmt: skip
def test_hostile_log_probabilities_cost_the_entropy_and_nothing_else(
    server: Any, frame: Frame, answering: Any, changes: dict[str, Any], reason: str
) -> None:
    server.answering = lambda request: answering(request, **changes)
    answer = reasoner_for(server).answer(frame, "what is red")
    assert (answer.status, answer.thought, answer.entropy_nats) == (Status.OK, "it is red", None)
    assert reason in answer.no_entropy


def test_a_server_that_lists_nothing_says_so(server: Any, frame: Frame) -> None:
    server.answering = lambda request: stream({})
    answer = reasoner_for(server).answer(frame, "what is red")
    assert (answer.status, answer.entropy_nats) == (Status.OK, None)
    assert answer.no_entropy == "it gave no log-probabilities"


@pytest.mark.parametrize("status", [400, 422, 501])
def test_a_server_that_refuses_them_is_asked_without_from_then_on(server: Any, frame: Frame, status: int) -> None:
    server.answering = refusing(status)
    reasoner = reasoner_for(server)
    answers = [reasoner.answer(frame, "what is red") for _ in range(2)]
    assert ["logprobs" in request for request in server.requests] == [True, False, False]
    for answer in answers:
        assert (answer.status, answer.entropy_nats) == (Status.OK, None)
        assert f"HTTP {status}: logprobs are not supported" in answer.no_entropy


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (500, "application/json", '{"error": {"message": "logprobs is not supported with stream"}}'),
        (403, "application/json", '{"detail": "top_logprobs: this plan has no log probs"}'),
        (200, "application/json", '{"error": "Logprobs cannot be computed"}'),
        (200, "text/event-stream", 'event: error\ndata: {"message": "log-probabilities are off"}\n\n'),
    ],
)
def test_a_refusal_that_speaks_of_them_counts_under_any_status(
    server: Any, frame: Frame, status: int, kind: str, body: str
) -> None:
    def answering(request: dict[str, Any]) -> tuple[int, str, list[Any]]:
        return (status, kind, [body]) if "logprobs" in request else stream(request)

    server.answering = answering
    reasoner = reasoner_for(server)
    answers = [reasoner.answer(frame, "what is red") for _ in range(2)]
    assert ["logprobs" in request for request in server.requests] == [True, False, False]
    assert {(answer.status, answer.entropy_nats) for answer in answers} == {(Status.OK, None)}
    assert "it gives no log-probabilities" in answers[1].no_entropy


def test_what_is_refused_for_another_reason_says_that_reason(server: Any, frame: Frame) -> None:
    server.answering = lambda request: (400, "application/json", [{"error": {"message": "the image is too large"}}])
    reasoner = reasoner_for(server)
    answer = reasoner.answer(frame, "what is red")
    assert answer.status is Status.UNAVAILABLE and "the image is too large" in answer.error
    server.answering = stream
    assert reasoner.answer(frame, "what is red").entropy_nats is not None


def test_they_are_not_asked_for_if_they_are_off_nor_for_samples(server: Any, frame: Frame) -> None:
    answer = reasoner_for(server, server_logprobs=False).answer(frame, "what is red")
    assert (answer.entropy_nats, answer.no_entropy) == (None, "reasoner.server_logprobs is off")
    explored = reasoner_for(server).explore(frame, "what is red", Exploration(samples=2))
    assert explored.answer.entropy_nats == pytest.approx(TRUE_NATS) and len(explored.samples) == 2
    assert sorted("logprobs" in request for request in server.requests) == [False, False, False, True]


def test_a_whole_answer_with_long_lists_is_read(server: Any, frame: Frame) -> None:
    """Its body is beyond the limit of one without lists."""

    def long(request: dict[str, Any]) -> tuple[int, str, list[Any]]:
        half = {"token": "x" * 1500, "logprob": math.log(0.5), "bytes": None}
        return whole(request, top_logprobs=[half, half, *[{**half, "logprob": -9999.0}] * 98])

    server.answering = long
    answer = reasoner_for(server, max_new_tokens=2048).answer(frame, "what is red")
    assert answer.status is Status.OK, answer.error
    assert answer.entropy_nats == pytest.approx(TRUE_NATS)

"""The server reasoner against a small server on the loopback that behaves as it is set to."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.types import Frame, Status

ServerReasoner = pytest.importorskip("reasonseg_ros.reasoner.server.reasoner").ServerReasoner

TEXT = '<think>it is red</think> <answer>[{"bbox_2d":[84,84,420,420],"point_2d":[200,200]}]</answer>'
Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Keeps each request's body and hands the request to the server's behaviour."""

    server: Any
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.server.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.behaviour(self)

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        self.start(*((200, "application/json") if self.server.models else (404, "text/html")))
        self.wfile.write(self.server.models)

    def log_message(self, *_: Any) -> None:
        pass

    def start(self, status: int = 200, kind: str = "text/event-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()

    def say(self, text: str | None, finish: str | None = None) -> None:
        choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()


def speak(handler: Handler) -> None:
    handler.start()
    for word in TEXT.split(" "):
        handler.say(word if word == "<think>it" else f" {word}")
    handler.say(None, "stop")
    handler.wfile.write(b"data: [DONE]\n\n")


def refuse(status: int) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.start(status, "application/json")
        handler.wfile.write(b'{"error": {"message": "the model is not here"}}')

    return behave


def hang_up(handler: Handler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def garbage(handler: Handler) -> None:
    handler.start(200, "text/html")
    handler.wfile.write(b"<html>It works!</html>")


def garbled_stream(handler: Handler) -> None:
    handler.start()
    handler.say("<think>it is")
    handler.wfile.write(b"data: {not json\n\n")


def break_off(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"ff\r\ndata: {")
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def error_in_the_stream(handler: Handler) -> None:
    handler.start()
    handler.say("<think>it")
    handler.wfile.write(b'data: {"error": {"message": "the GPU fell over"}}\n\n')


def stop_at_the_token_limit(handler: Handler) -> None:
    handler.start()
    handler.say("<think>it is red and")
    handler.say(None, "length")
    handler.wfile.write(b"data: [DONE]\n\n")


def sleep_first(handler: Handler) -> None:
    handler.server.wakened.wait(10)


def sleep_after_a_word(handler: Handler) -> None:
    handler.start()
    handler.say("<think>it")
    handler.server.wakened.wait(10)


@pytest.fixture
def server() -> Iterator[Any]:
    # The client hangs up on purpose in some tests; the handler's complaint about that is no news.
    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    instance: Any = Quiet(("127.0.0.1", 0), Handler)
    instance.asked, instance.models = [], b""
    instance.requests, instance.wakened, instance.behaviour = [], threading.Event(), speak
    thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield instance
    instance.wakened.set()
    instance.shutdown()
    thread.join()
    instance.server_close()


def reasoner_for(port: int, **changes: Any) -> Any:
    config = ReasonerConfig(backend="server", server_url=f"http://127.0.0.1:{port}/v1", server_retries=0)
    config = replace(config, **{"model": "vision-reasoner-7b", **changes})
    return ServerReasoner(load_card(config.model, "reasoner"), config)


def test_an_answer_streams_in(server: Any, frame: Frame) -> None:
    heard: list[str] = []
    call = Call(on_text=lambda text, _: heard.append(text))
    answer = reasoner_for(server.server_port).answer(frame, "What is red?", call)
    assert answer.status is Status.OK, answer.error
    np.testing.assert_allclose(answer.groundings[0].box_xyxy, [64, 48, 320, 240], atol=1e-3)
    assert (answer.raw_text, answer.thought, answer.model) == (TEXT, "it is red", "vision-reasoner-7b")
    assert heard[0] == "<think>it"
    assert heard[-1] == TEXT
    assert answer.tokens == len(heard)


def test_strict_reading_repairs_nothing(server: Any, frame: Frame) -> None:
    def without_tags(handler: Handler) -> None:
        handler.start()
        handler.say('It is red: [{"bbox_2d":[84,84,420,420],"point_2d":[200,200]}]', "stop")
        handler.wfile.write(b"data: [DONE]\n\n")

    server.behaviour = without_tags
    found = [reasoner_for(server.server_port, strict=strict).answer(frame, "red?") for strict in (False, True)]
    assert [answer.status for answer in found] == [Status.OK, Status.UNPARSABLE]


def test_the_request_is_greedy_and_holds_the_squashed_image(server: Any, frame: Frame) -> None:
    reasoner_for(server.server_port).answer(frame, "What is red?", Call(max_new_tokens=77))
    request = server.requests[0]
    assert (request["model"], request["temperature"]) == ("Ricky06662/VisionReasoner-7B", 0)
    assert (request["max_tokens"], request["stream"]) == (77, True)
    image, words = request["messages"][1]["content"]
    assert '"what is red"' in words["text"]
    png = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    sent = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert sent.shape == (840, 840, 3)
    assert abs(float(sent.mean()) - float(frame.rgb.mean())) < 1


@pytest.mark.parametrize(
    ("model", "server_model", "expected"),
    [
        ("qwen3-vl-8b", "", "Qwen/Qwen3-VL-8B-Instruct"),
        ("tabletop-reasoner", "", "tabletop-reasoner"),  # its source is a folder
        ("tabletop-reasoner", "robots/small", "robots/small"),
    ],
)
def test_the_server_is_asked_for_the_model_by_its_name_there(
    server: Any, frame: Frame, model: str, server_model: str, expected: str
) -> None:
    reasoner_for(server.server_port, model=model, server_model=server_model).answer(frame, "what is red")
    assert server.requests[0]["model"] == expected


# As vLLM 0.32 and llama.cpp's router list them.
VLLM_LIST = (
    b'{"object":"list","data":[{"id":"cup finder","object":"model","owned_by":"vllm"},{"id":"a","object":"model"}]}'
)


@pytest.mark.parametrize("status", [400, 404])
def test_a_name_that_is_not_served_is_answered_with_those_that_are(server: Any, frame: Frame, status: int) -> None:
    server.behaviour, server.models = refuse(status), VLLM_LIST
    answer = reasoner_for(server.server_port).answer(frame, "what is red")
    assert answer.status is Status.UNAVAILABLE
    assert (
        "it does not serve 'Ricky06662/VisionReasoner-7B' but cup finder, a: set reasoner.server_model" in answer.error
    )
    assert server.asked == [("/v1/models", None)]


@pytest.mark.parametrize(
    "models",
    [
        VLLM_LIST.replace(b"cup finder", b"Ricky06662/VisionReasoner-7B"),  # it is served, so that is not the fault
        b"", b"no JSON", b"[]", b'{"data": 3}', b'{"data": [3, {"id": 4}]}',
    ],
)  # fmt: skip
def test_without_other_names_the_refusal_is_said_alone(server: Any, frame: Frame, models: bytes) -> None:
    server.behaviour, server.models = refuse(404), models
    answer = reasoner_for(server.server_port).answer(frame, "what is red")
    assert "the model is not here" in answer.error
    assert "does not serve" not in answer.error


def test_names_are_asked_for_with_the_key_and_shown_without(
    server: Any, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_KEY", "secret-1234")
    server.behaviour, server.models = refuse(404), b'{"data":[{"id":"leaks secret-1234"}]}'
    answer = reasoner_for(server.server_port, server_key_variable="SERVER_KEY").answer(frame, "what is red")
    assert server.asked == [("/v1/models", "Bearer secret-1234")]
    assert "leaks ***" in answer.error
    assert "secret-1234" not in answer.error


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (refuse(500), "HTTP 500"),
        (refuse(404), "the model is not here"),
        (refuse(401), "HTTP 401"),
        (hang_up, "cannot be reached"),
        (garbage, "something else than a stream of completions"),
        (garbled_stream, "no JSON"),
        (break_off, "127.0.0.1"),
        (error_in_the_stream, "the GPU fell over"),
    ],
)
def test_a_server_that_misbehaves_is_unavailable(server: Any, frame: Frame, behaviour: Behaviour, reason: str) -> None:
    server.behaviour = behaviour
    reasoner = reasoner_for(server.server_port)
    answer = reasoner.answer(frame, "what is red")
    assert answer.status is Status.UNAVAILABLE
    assert reason in answer.error
    server.behaviour = speak
    assert reasoner.answer(frame, "what is red").status is Status.OK


BOX = '<answer>[{"bbox_2d":[84,84,420,420],"point_2d":[200,200]}]</answer>'


def say_all(*deltas: dict[str, str], finish: str | None = "stop", done: bool = True) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.start()
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices += [{"index": 0, "delta": {}, "finish_reason": finish}]
        for choice in choices:
            handler.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        if done:
            handler.wfile.write(b"data: [DONE]\n\n")

    return behave


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(
    ("said", "content", "finish", "status", "thought"),
    [
        ("the left one", BOX, "stop", Status.OK, "the left one"),
        ("the left one", "<answer>[]</answer>", "stop", Status.NO_TARGET, "the left one"),
        ("There is no mug in the image.", BOX, "stop", Status.CONTRADICTION, "There is no mug in the image."),
        ("There is no mug in the image.", "", "stop", Status.NO_TARGET, "There is no mug in the image."),
        (f"<think>the left one</think>{BOX}", "", "stop", Status.OK, "the left one"),
        ("the left one", "", "stop", Status.UNPARSABLE, "the left one"),
        ("the left one or", "", "length", Status.TRUNCATED, "the left one or"),
        ("There is no mug yet, but", "", "length", Status.TRUNCATED, "There is no mug yet, but"),
    ],
)
def test_a_thought_that_is_sent_apart_counts(
    server: Any, frame: Frame, key: str, said: str, content: str, finish: str, status: Status, thought: str
) -> None:
    server.behaviour = say_all(*({key: f"{word} "} for word in said.split()), {"content": content}, finish=finish)
    heard: list[str] = []
    answer = reasoner_for(server.server_port).answer(frame, "mug", Call(on_text=lambda text, _: heard.append(text)))
    assert (answer.status, answer.thought) == (status, thought), answer.error
    assert len(heard) >= len(said.split()) and all(later.startswith("<think>") for later in heard)


@pytest.mark.parametrize("strict", [False, True])
def test_strict_reading_takes_a_thought_that_is_sent_apart(server: Any, frame: Frame, strict: bool) -> None:
    server.behaviour = say_all({"reasoning_content": "the left one\n"}, {"content": f"\n\n{BOX}"})
    answer = reasoner_for(server.server_port, strict=strict).answer(frame, "mug")
    assert (answer.status, answer.thought) == (Status.OK, "the left one"), answer.error


@pytest.mark.parametrize(
    ("text", "finish", "done", "status"),
    [
        (f"<think>red</think>{BOX}", None, True, Status.OK),
        (f"<think>red</think>{BOX}", "stop", False, Status.OK),
        (f"<think>red</think>{BOX}", None, False, Status.UNAVAILABLE),
        (f"<think>red</think>{BOX[:-11]}, ", None, True, Status.UNAVAILABLE),
        ("<think>red, le", None, True, Status.UNAVAILABLE),
        ("<think>red, le", "stop", True, Status.TRUNCATED),
        (f"<think>red</think>{BOX}", "content_filter", True, Status.UNAVAILABLE),
    ],
)
def test_half_an_answer_is_no_answer(
    server: Any, frame: Frame, text: str, finish: str | None, done: bool, status: Status
) -> None:
    server.behaviour = say_all({"content": text}, finish=finish, done=done)
    answer = reasoner_for(server.server_port).answer(frame, "mug")
    assert answer.status is status, answer.error
    assert bool(answer.groundings) == (status is Status.OK)


def test_a_server_that_is_away_is_unavailable(server: Any, frame: Frame) -> None:
    server.server_close()
    answer = reasoner_for(server.server_port).answer(frame, "what is red")
    assert answer.status is Status.UNAVAILABLE
    assert f"http://127.0.0.1:{server.server_port}/v1" in answer.error
    assert "start it" in answer.error


def test_a_passing_failure_is_tried_again(server: Any, frame: Frame) -> None:
    server.behaviour = lambda handler: (refuse(503) if len(server.requests) == 1 else speak)(handler)
    assert reasoner_for(server.server_port, server_retries=1).answer(frame, "a").status is Status.OK
    assert len(server.requests) == 2


@pytest.mark.parametrize("behaviour", [sleep_first, sleep_after_a_word])
def test_a_silent_server_ends_at_the_time_limit(server: Any, frame: Frame, behaviour: Behaviour) -> None:
    server.behaviour = behaviour
    start_s = time.monotonic()
    answer = reasoner_for(server.server_port).answer(frame, "what is red", Call(time_limit_s=0.3))
    assert answer.status is Status.TIMEOUT
    assert time.monotonic() - start_s < 5


def test_cancel_does_not_wait_for_a_silent_server(server: Any, frame: Frame) -> None:
    server.behaviour = sleep_after_a_word
    heard: list[str] = []
    answer = reasoner_for(server.server_port).answer(
        frame, "a", Call(on_text=lambda text, _: heard.append(text), cancelled=lambda: bool(heard))
    )
    assert (answer.status, answer.thought) == (Status.CANCELLED, "it")


def test_the_token_limit_is_truncated(server: Any, frame: Frame) -> None:
    server.behaviour = stop_at_the_token_limit
    assert reasoner_for(server.server_port).answer(frame, "a").status is Status.TRUNCATED


def test_a_refused_question_reaches_no_server(server: Any, frame: Frame) -> None:
    assert reasoner_for(server.server_port).answer(frame, "").status is Status.REFUSED
    assert server.requests == []


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOT_SERVER_KEY", "abc")
    assert reasoner_for(1, server_key_variable="ROBOT_SERVER_KEY").server.key == "abc"
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        reasoner_for(1, server_key_variable="NO_SUCH_VARIABLE")


def test_the_frames_of_a_video_go_with_their_numbers(server: Any, frame: Frame) -> None:
    def choose(handler: Handler) -> None:
        handler.start()
        handler.say('<think>it fell</think><answer>[{"frame_idx": 2, "object description": "the jar"}]</answer>')
        handler.say(None, "stop")
        handler.wfile.write(b"data: [DONE]\n\n")

    server.behaviour = choose
    reasoner = reasoner_for(server.server_port)
    keyframe = reasoner.choose([frame, frame], "What fell?")
    assert (keyframe.status, keyframe.index, keyframe.description) == (Status.OK, 1, "the jar")
    content = server.requests[0]["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "text", "image_url", "text"]
    assert content[2]["text"] == "Frame 2:" and "what fell" in content[4]["text"]
    png = base64.b64decode(content[1]["image_url"]["url"].partition(",")[2])
    assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape == (448, 448, 3)

    server.behaviour = refuse(500)
    away = reasoner.choose([frame, frame], "What fell?")
    assert away.status is Status.UNAVAILABLE and "HTTP 500" in away.error

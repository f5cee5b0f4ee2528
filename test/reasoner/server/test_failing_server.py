"""The server reasoner against a server that refuses, breaks off, is silent, or answers incompletely."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from completing_server import BOX, Behaviour, Handler, reasoner_for, refuse, say_all, speak

from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.types import Frame, Status


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
    handler.server.wakened.wait(60)


def sleep_after_a_word(handler: Handler) -> None:
    handler.start()
    handler.say("<think>it")
    handler.server.wakened.wait(60)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (refuse(500), "HTTP 500"),
        (refuse(404), "the model is not here"),
        (refuse(401), "HTTP 401"),
        (hang_up, "cannot be reached"),
        (garbage, "something other than completions"),
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
    assert time.monotonic() - start_s < 30


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

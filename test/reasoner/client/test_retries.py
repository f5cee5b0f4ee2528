"""Retries, redirects and waits of the server reasoner."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate

import pytest
from breaking_server import ANSWER, STREAM, Server, event, reasoner_for, respond, stream

from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.types import Frame, Status


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_on_the_same_server_is_followed(server: Server, frame: Frame, status: str) -> None:
    def behave(wire: socket.socket, head: str) -> None:
        moved = head.startswith("POST /v1/chat")
        wire.sendall(respond(status, Location="/v2/completions") if moved else stream(ANSWER))

    server.behaviour = behave
    assert reasoner_for(server).answer(frame, "red").status is Status.OK
    assert [head.split()[:2] for head in server.requests] == [
        ["POST", "/v1/chat/completions"],
        ["POST", "/v2/completions"],
    ]


@pytest.mark.parametrize("target", ["", "/v1/chat/completions", "/again"])
def test_redirects_in_a_circle_end(server: Server, frame: Frame, target: str) -> None:
    server.behaviour = lambda wire, _: wire.sendall(respond("307 Temporary", Location=target))
    answer = reasoner_for(server, server_retries=3).answer(frame, "red")
    assert answer.status is Status.UNAVAILABLE and "redirects more than 3 times" in answer.error
    assert len(server.requests) == 4


@pytest.mark.parametrize("wait", ["0.2", "0", None])
def test_a_busy_server_is_asked_again(server: Server, frame: Frame, wait: str | None) -> None:
    def behave(wire: socket.socket, _: str) -> None:
        headers = {} if wait is None else {"Retry_After": wait}
        busy = len(server.requests) == 1
        wire.sendall(respond("429 Busy", '{"error": "busy"}', **headers) if busy else stream(ANSWER))

    server.behaviour = behave
    assert reasoner_for(server, server_retries=1).answer(frame, "red").status is Status.OK
    first_s, second_s = server.times_s
    assert float(wait or 0.3) <= second_s - first_s + 0.05 < 20


@pytest.mark.parametrize("wait", ["30", "1e400", "in an hour"])
@pytest.mark.parametrize("status", ["429 Busy", "503 Away"])
def test_a_wait_beyond_the_limit_is_not_waited_for(server: Server, frame: Frame, wait: str, status: str) -> None:
    if wait == "in an hour":
        wait = formatdate(time.time() + 3600, usegmt=True)
    server.behaviour = lambda wire, _: wire.sendall(respond(status, '{"error": "busy"}', Retry_After=wait))
    start_s = time.monotonic()
    answer = reasoner_for(server, server_retries=3).answer(frame, "red", Call(time_limit_s=25))
    assert answer.status is Status.UNAVAILABLE
    assert f"HTTP {status[:3]}: busy" in answer.error and "time limit of 25 s" in answer.error
    assert time.monotonic() - start_s < 20
    assert len(server.requests) == 1


@pytest.mark.parametrize("wait", ["soon", "nan", "-5", "Mon, 99 Foo 2020"])
def test_a_wait_that_means_nothing_is_passed_over(server: Server, frame: Frame, wait: str) -> None:
    server.behaviour = lambda wire, _: wire.sendall(respond("503 Away", Retry_After=wait))
    answer = reasoner_for(server, server_retries=1).answer(frame, "red")
    assert answer.status is Status.UNAVAILABLE and "HTTP 503 (asked 2 times)" in answer.error


def test_retries_end_with_the_time_limit_and_name_the_last_status(server: Server, frame: Frame) -> None:
    def behave(wire: socket.socket, _: str) -> None:
        if len(server.requests) < 3:
            wire.sendall(respond("503 Away", "the model is loading", Retry_After="0.05"))
        else:
            server.ended.wait(60)

    server.behaviour = behave
    answer = reasoner_for(server, server_retries=9).answer(frame, "red", Call(time_limit_s=3))
    assert answer.status is Status.TIMEOUT
    assert "HTTP 503: the model is loading" in answer.error
    time.sleep(0.3)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", ["400 Bad", "401 Unauthorized", "404 Not Found", "413 Too Large", "204 Nothing"])
def test_a_refusal_that_stays_is_not_asked_again(server: Server, frame: Frame, status: str) -> None:
    server.behaviour = lambda wire, _: wire.sendall(respond(status))
    answer = reasoner_for(server, server_retries=5, server_logprobs=False).answer(frame, "red")
    assert answer.status is Status.UNAVAILABLE and f"HTTP {status[:3]}" in answer.error
    assert [head.split()[0] for head in server.requests if head.startswith("POST")] == ["POST"]


def test_a_stream_that_breaks_off_is_not_asked_again(server: Server, frame: Frame) -> None:
    server.behaviour = lambda wire, _: wire.sendall(STREAM + b"\r\n" + event({"content": "<think>red"}))
    answer = reasoner_for(server, server_retries=5).answer(frame, "red")
    assert (answer.status, answer.thought) == (Status.UNAVAILABLE, "red")
    assert len(server.requests) == 1

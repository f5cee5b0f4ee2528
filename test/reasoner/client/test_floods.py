"""The server reasoner against floods, trickles and silence: time, bytes and threads stay bounded."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable

import numpy as np
import pytest
from breaking_server import (
    ANSWER,
    STREAM,
    Behaviour,
    Server,
    event,
    reasoner_for,
    respond,
    stream,
    talking_threads,
    wait_until,
)

from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.types import Frame, Status


def endless(before: bytes, again: bytes, pause_s: float = 0.0) -> Callable[[Server], Behaviour]:
    def made(server: Server) -> Behaviour:
        def behave(wire: socket.socket, _: str) -> None:
            wire.sendall(before)
            server.pour(wire, again, pause_s)

        return behave

    return made


CHUNKED = STREAM + b"Transfer-Encoding: chunked\r\n\r\n"


FLOODS = {
    "a line without end": (endless(STREAM + b"\r\ndata: ", b"x" * 65536), Status.UNAVAILABLE),
    "an event without end": (endless(STREAM + b"\r\n", b"data: x\n" * 8192), Status.UNAVAILABLE),
    "comments without end": (endless(STREAM + b"\r\n", b": \n" * 32768), Status.UNAVAILABLE),
    "a chunk of 16 TB": (endless(CHUNKED + b"fffffffffff\r\ndata: ", b"x" * 65536), Status.UNAVAILABLE),
    "a chunk size without end": (endless(CHUNKED, b"1" * 65536), Status.UNAVAILABLE),
    "a header without end": (endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536), Status.UNAVAILABLE),
    "headers without end": (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000), Status.UNAVAILABLE),
    "a status line without end": (endless(b"HTTP/1.1 200 ", b"x" * 65536), Status.UNAVAILABLE),
    "an error body without end": (endless(b"HTTP/1.1 500 No\r\n\r\n", b"x" * 65536), Status.UNAVAILABLE),
    "a JSON body without end": (endless(b"HTTP/1.1 200 OK\r\n\r\n{", b'"a": 1, ' * 8192), Status.UNAVAILABLE),
    "tokens without end": (endless(STREAM + b"\r\n", event({"content": "word "}) * 100), Status.TRUNCATED),
    "a thought without end": (endless(STREAM + b"\r\n", event({"reasoning": "word "}) * 100), Status.TRUNCATED),
    "long tokens without end": (endless(STREAM + b"\r\n", event({"content": "word " * 5000})), Status.TRUNCATED),
    "empty tokens without end": (endless(STREAM + b"\r\n", event({"content": ""}) * 100), Status.UNAVAILABLE),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_cut_off(server: Server, frame: Frame, name: str) -> None:
    made, status = FLOODS[name]
    server.behaviour = made(server)
    answer = reasoner_for(server).answer(frame, "red", Call(max_new_tokens=50, time_limit_s=20))
    assert answer.status is status, answer.error
    assert len(answer.error) < 1000 and len(answer.raw_text) <= 50 * 128
    # What the sockets hold in between is the system's.
    assert wait_until(lambda: not talking_threads())
    assert server.sent_bytes < 16e6


def test_an_answer_stops_at_the_token_limit(server: Server, frame: Frame) -> None:
    server.behaviour = endless(STREAM + b"\r\n", event({"content": "<think> "}), 0.001)(server)
    heard: list[int] = []
    answer = reasoner_for(server).answer(
        frame, "red", Call(max_new_tokens=7, on_text=lambda _, tokens: heard.append(tokens))
    )
    assert (answer.status, answer.tokens, heard) == (Status.TRUNCATED, 7, list(range(1, 8)))


TRICKLES = {
    "the status line": endless(b"HTTP/1.1 200 O", b"K", 0.02),
    "headers": endless(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.02),
    "interim responses": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "a chunk size": endless(CHUNKED, b"1", 0.02),
    "a line": endless(STREAM + b"\r\ndata: ", b"x", 0.02),
    "comments": endless(STREAM + b"\r\n", b":\n\n", 0.02),
    "an error body": endless(b"HTTP/1.1 500 No\r\n\r\n", b"x", 0.02),
    "trailers": endless(CHUNKED + b"0\r\n", b"X: y\r\n", 0.02),
    "nothing": lambda server: lambda wire, _: server.ended.wait(60),
}


@pytest.mark.parametrize("name", TRICKLES)
@pytest.mark.parametrize("how", ["time limit", "cancelled"])
def test_a_trickle_holds_neither_question_nor_thread(server: Server, frame: Frame, name: str, how: str) -> None:
    server.behaviour = TRICKLES[name](server)
    start_s = time.monotonic()
    reasoner = reasoner_for(server, server_retries=5)
    if how == "cancelled":
        answer = reasoner.answer(
            frame, "red", Call(cancelled=lambda: bool(server.requests) and time.monotonic() - start_s > 0.3)
        )
    else:
        answer = reasoner.answer(frame, "red", Call(time_limit_s=1.0))
    assert answer.status is (Status.CANCELLED if how == "cancelled" else Status.TIMEOUT), answer.error
    assert wait_until(lambda: not talking_threads())
    assert time.monotonic() - start_s < 30
    assert len(server.requests) == 1


def test_a_server_that_does_not_read_holds_neither_question_nor_thread(server: Server) -> None:
    server._serve = lambda wire: server.ended.wait(60)  # type: ignore[method-assign,assignment,return-value]
    noise = np.random.default_rng(0).integers(0, 255, (840, 840, 3), np.uint8)
    answer = reasoner_for(server, server_retries=5).answer(Frame(noise), "red", Call(time_limit_s=1.0))
    assert answer.status is Status.TIMEOUT
    assert wait_until(lambda: not talking_threads())


def test_threads_of_silent_servers_do_not_pile_up(server: Server, frame: Frame) -> None:
    server.behaviour = lambda wire, _: server.ended.wait(60)
    reasoner = reasoner_for(server)
    for _ in range(20):
        assert reasoner.answer(frame, "red", Call(time_limit_s=0.1)).status is Status.TIMEOUT
        assert wait_until(lambda: len(talking_threads()) <= 2)
    server.behaviour = lambda wire, _: wire.sendall(stream(ANSWER))
    assert reasoner.answer(frame, "red").status is Status.OK


def test_an_open_stream_ends_with_its_finish_reason(server: Server, frame: Frame) -> None:
    def behave(wire: socket.socket, _: str) -> None:
        wire.sendall(STREAM + b"\r\n" + event({"content": ANSWER}) + event(finish="stop"))
        server.pour(wire, b":\n\n", 0.05)

    server.behaviour = behave
    start_s = time.monotonic()
    assert reasoner_for(server).answer(frame, "red").status is Status.OK
    assert time.monotonic() - start_s < 30


@pytest.mark.parametrize("encoding", ["gzip", "deflate, gzip", "br"])
def test_what_is_compressed_is_not_unpacked(server: Server, frame: Frame, encoding: str) -> None:
    bomb = gzip.compress(b"data: " + bytes(50_000_000))
    reasoner = reasoner_for(server)
    server.behaviour = lambda wire, _: wire.sendall(respond("200 OK", bomb, Content_Encoding=encoding))
    answer = reasoner.answer(frame, "red")
    assert answer.status is Status.UNAVAILABLE and encoding in answer.error
    assert "Accept-Encoding: identity" in server.requests[0]
    server.behaviour = lambda wire, _: wire.sendall(respond("500 No", bomb, Content_Encoding=encoding))
    assert reasoner.answer(frame, "red").error.endswith("it refused with HTTP 500")

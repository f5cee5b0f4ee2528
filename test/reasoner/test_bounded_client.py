"""The server reasoner against servers on the loopback that break every rule: time, bytes and threads stay bounded."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.server.reasoner import ServerReasoner
from reasonseg_ros.types import Frame, Status

Behaviour = Callable[[socket.socket, str], None]
KEY = "sk-0123456789abcdef"
ANSWER = '<think>red</think><answer>[{"bbox_2d":[84,84,420,420],"point_2d":[200,200]}]</answer>'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"


def event(delta: Any = None, finish: str | None = None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta or {}, "finish_reason": finish}]}).encode() + b"\n\n"


def stream(*texts: str, finish: str = "stop") -> bytes:
    events = b"".join(event({"content": text}) for text in texts)
    return STREAM + b"\r\n" + events + event(finish=finish) + b"data: [DONE]\n\n"


def respond(status: str, body: bytes | str = b"", **headers: str) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Server:
    """Accepts on the loopback, reads each request, and hands the socket to `behaviour` in a thread of its own."""

    def __init__(self, address: str = "127.0.0.1", family: socket.AddressFamily = socket.AF_INET) -> None:
        self.listener = socket.create_server((address, 0), family=family)
        self.port = self.listener.getsockname()[1]
        self.behaviour: Behaviour = lambda wire, _: wire.sendall(stream(ANSWER))
        self.requests: list[str] = []
        self.times_s: list[float] = []
        self.sent_bytes = 0
        self.ended = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.ended.set()
        self.listener.close()

    def pour(self, wire: socket.socket, data: bytes, pause_s: float = 0.0) -> None:
        """Send `data` again and again until the client hangs up."""
        while not self.ended.is_set():
            wire.sendall(data)
            self.sent_bytes += len(data)
            if pause_s:
                time.sleep(pause_s)

    def _accept(self) -> None:
        while True:
            try:
                wire = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(wire,), daemon=True).start()

    def _serve(self, wire: socket.socket) -> None:
        with wire, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                request += wire.recv(65536)
            head, _, body = request.partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length")), 0)
            while len(body) < length:
                body += wire.recv(1 << 20)
            self.requests.append(head.decode() + "\r\n")
            self.times_s.append(time.monotonic())
            self.behaviour(wire, head.decode())


@pytest.fixture
def frame() -> Frame:
    return Frame(np.zeros((48, 64, 3), np.uint8))


@pytest.fixture
def server() -> Iterator[Server]:
    instance = Server()
    yield instance
    instance.close()


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def reasoner_for(server: Server, **changes: Any) -> ServerReasoner:
    config = ReasonerConfig(backend="server", server_url=f"http://127.0.0.1:{server.port}/v1", server_retries=0)
    return ServerReasoner(load_card("vision-reasoner-7b", "reasoner"), replace(config, **changes))


def talking_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "reasoner-server"]


def wait_until(condition: Callable[[], bool], limit_s: float = 3.0) -> bool:
    deadline_s = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return condition()


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
    "nothing": lambda server: lambda wire, _: server.ended.wait(10),
}


@pytest.mark.parametrize("name", TRICKLES)
@pytest.mark.parametrize("how", ["time limit", "cancelled"])
def test_a_trickle_holds_neither_question_nor_thread(server: Server, frame: Frame, name: str, how: str) -> None:
    server.behaviour = TRICKLES[name](server)
    start_s = time.monotonic()
    reasoner = reasoner_for(server, server_retries=5)
    if how == "cancelled":
        answer = reasoner.answer(frame, "red", Call(cancelled=lambda: time.monotonic() - start_s > 0.3))
    else:
        answer = reasoner.answer(frame, "red", Call(time_limit_s=0.3))
    assert answer.status is (Status.CANCELLED if how == "cancelled" else Status.TIMEOUT), answer.error
    assert wait_until(lambda: not talking_threads())
    assert time.monotonic() - start_s < 3
    assert len(server.requests) == 1


def test_a_server_that_does_not_read_holds_neither_question_nor_thread(server: Server) -> None:
    server._serve = lambda wire: server.ended.wait(10)  # type: ignore[method-assign,assignment,return-value]
    noise = np.random.default_rng(0).integers(0, 255, (840, 840, 3), np.uint8)
    answer = reasoner_for(server, server_retries=5).answer(Frame(noise), "red", Call(time_limit_s=1.0))
    assert answer.status is Status.TIMEOUT
    assert wait_until(lambda: not talking_threads())


def test_a_server_behind_ipv6_is_asked(frame: Frame) -> None:
    try:
        server = Server("::1", socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    try:
        answer = reasoner_for(server, server_url=f"http://[::1]:{server.port}/v1").answer(frame, "red")
        assert answer.status is Status.OK, answer.error
        assert f"\r\nHost: [::1]:{server.port}\r\n" in server.requests[0]
    finally:
        server.close()


def test_a_host_without_an_address_is_away(server: Server, frame: Frame) -> None:
    answer = reasoner_for(server, server_url="http://no-such-host.invalid/v1").answer(frame, "red")
    assert answer.status is Status.UNAVAILABLE and "cannot be reached" in answer.error


def test_threads_of_silent_servers_do_not_pile_up(server: Server, frame: Frame) -> None:
    server.behaviour = lambda wire, _: server.ended.wait(10)
    reasoner = reasoner_for(server)
    for _ in range(20):
        assert reasoner.answer(frame, "red", Call(time_limit_s=0.1)).status is Status.TIMEOUT
        assert len(talking_threads()) <= 2
    server.behaviour = lambda wire, _: wire.sendall(stream(ANSWER))
    assert reasoner.answer(frame, "red").status is Status.OK


def test_an_open_stream_ends_with_its_finish_reason(server: Server, frame: Frame) -> None:
    def behave(wire: socket.socket, _: str) -> None:
        wire.sendall(STREAM + b"\r\n" + event({"content": ANSWER}) + event(finish="stop"))
        server.pour(wire, b":\n\n", 0.05)

    server.behaviour = behave
    start_s = time.monotonic()
    assert reasoner_for(server).answer(frame, "red").status is Status.OK
    assert time.monotonic() - start_s < 5


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


def test_a_key_goes_to_no_other_server(server: Server, frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOT_KEY", KEY)
    other = Server()
    try:
        own = f"127.0.0.1:{server.port}/v1"
        others = [f"http://127.0.0.1:{other.port}/v1", f"//localhost:{server.port}/v1", "http://[::1", "file:///x"]
        for target in (*others, f"//me@{own}", f"https://{own}"):
            response = respond("307 Temporary", Location=target)
            server.behaviour = lambda wire, _, response=response: wire.sendall(response)  # type: ignore[misc]
            answer = reasoner_for(server, server_key_variable="ROBOT_KEY").answer(frame, "red")
            assert answer.status is Status.UNAVAILABLE and "another server" in answer.error, answer.error
            assert KEY not in answer.error
        assert other.requests == []
    finally:
        other.close()


@pytest.mark.parametrize("wait", ["0.2", "0", None])
def test_a_busy_server_is_asked_again(server: Server, frame: Frame, wait: str | None) -> None:
    def behave(wire: socket.socket, _: str) -> None:
        headers = {} if wait is None else {"Retry_After": wait}
        busy = len(server.requests) == 1
        wire.sendall(respond("429 Busy", '{"error": "busy"}', **headers) if busy else stream(ANSWER))

    server.behaviour = behave
    assert reasoner_for(server, server_retries=1).answer(frame, "red").status is Status.OK
    first_s, second_s = server.times_s
    assert float(wait or 0.3) <= second_s - first_s + 0.05 < 3


@pytest.mark.parametrize("wait", ["30", "1e400", "in an hour"])
@pytest.mark.parametrize("status", ["429 Busy", "503 Away"])
def test_a_wait_beyond_the_limit_is_not_waited_for(server: Server, frame: Frame, wait: str, status: str) -> None:
    if wait == "in an hour":
        wait = formatdate(time.time() + 3600, usegmt=True)
    server.behaviour = lambda wire, _: wire.sendall(respond(status, '{"error": "busy"}', Retry_After=wait))
    start_s = time.monotonic()
    answer = reasoner_for(server, server_retries=3).answer(frame, "red", Call(time_limit_s=5))
    assert answer.status is Status.UNAVAILABLE
    assert f"HTTP {status[:3]}: busy" in answer.error and "time limit of 5 s" in answer.error
    assert time.monotonic() - start_s < 3
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
            server.ended.wait(10)

    server.behaviour = behave
    answer = reasoner_for(server, server_retries=9).answer(frame, "red", Call(time_limit_s=0.6))
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


@pytest.mark.parametrize(
    "body",
    [  # the key in every place that may be shown
        respond("401 No", f'{{"error": {{"message": "wrong key {KEY}"}}}}'),
        respond("401 No", f"wrong key {KEY}"),
        respond("401 No", "x" * 290 + KEY),
        respond("401 No", json.dumps({"error": "Authorization: Bearer " + KEY.upper()})),
        respond("401 No", json.dumps({"error": KEY}).replace("s", "\\u0073", 1)),
        respond("200 OK", f"<html>{KEY}</html>"),
        respond("200 OK", "data: {" + KEY + "\n\n", Content_Type="text/event-stream"),
        respond("200 OK", "{}", Content_Type=KEY),
        respond("200 OK", "{}", Content_Encoding=KEY),
        respond("307 No", "{}", Location=f"http://elsewhere/{KEY}"),
        f"HTTP/1.1 {KEY} OK\r\n\r\n".encode(),
        f"{KEY}\r\n\r\n".encode(),
        stream("<think>red", finish=KEY),
        stream(f"<think>the key is {KEY}</think>", ANSWER),
        stream("<think>the key is ", *KEY, "</think>", ANSWER),
        stream(ANSWER[:-9] + f', {{"bbox_2d": "{KEY}"}}]</answer>'),
        stream(f'<answer>[{{"bbox_2d":[84,84,420,420],"label":"{KEY}"}}]</answer>'),
        STREAM + b"\r\n" + b"".join(event({"reasoning": part}) for part in (KEY[:9], KEY[9:])) + stream(ANSWER),
    ],
    ids=range(18),
)
def test_a_key_that_a_server_echoes_is_masked(
    server: Server, frame: Frame, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOT_KEY", f" {KEY}\n")
    server.behaviour = lambda wire, _: wire.sendall(body)
    reasoner = reasoner_for(server, server_key_variable="ROBOT_KEY")
    heard: list[str] = []
    answer = reasoner.answer(frame, "red", Call(on_text=lambda text, _: heard.append(text)))
    assert f"Authorization: Bearer {KEY}\r\n" in server.requests[0]
    shown = " ".join([repr(answer), repr(reasoner.server), answer.error, answer.raw_text, *heard]).lower()
    assert KEY not in shown
    assert not any(text.lower().endswith(KEY[:size]) for text in heard for size in range(3, len(KEY)))


def test_a_placeholder_for_a_key_is_masked_in_refusals_only(
    server: Server, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOT_KEY", "EMPTY")
    reasoner = reasoner_for(server, server_key_variable="ROBOT_KEY")
    server.behaviour = lambda wire, _: wire.sendall(stream("<think>the EMPTY jar</think>", ANSWER[18:]))
    assert reasoner.answer(frame, "red").thought == "the EMPTY jar"
    server.behaviour = lambda wire, _: wire.sendall(respond("401 No", "wrong key EMPTY"))
    assert "wrong key ***" in reasoner.answer(frame, "red").error


def test_words_that_begin_like_the_key_are_not_lost(
    server: Server, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOT_KEY", "red-red-mug")
    server.behaviour = lambda wire, _: wire.sendall(stream("<think>a red-", "red-", "jar, then red-red-m"))
    heard: list[str] = []
    answer = reasoner_for(server, server_key_variable="ROBOT_KEY").answer(
        frame, "red", Call(on_text=lambda text, _: heard.append(text))
    )
    assert answer.thought == "a red-red-jar, then red-red-m"
    assert heard[-1] == "<think>a red-red-jar, then red-red-m"


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8000/v1", "htp://host/v1", "http://", "http:///v1", "http://host:port/v1", "http://host:99999/v1",
     "http://host:0/v1", "http://ho st/v1", "http://[::1/v1", "http://höst/v1", "http://host/v1?x=1", "http://host/#a",
     "http://host/v1\nX: y"],
)  # fmt: skip
def test_an_address_that_is_none_is_a_wrong_setting(url: str) -> None:
    config = ReasonerConfig(backend="server", server_url=url)
    with pytest.raises(ConfigError, match=r"reasoner\.server_url") as caught:
        ServerReasoner(load_card("vision-reasoner-7b", "reasoner"), config)
    assert "\n" not in str(caught.value)


def test_a_password_in_the_address_is_refused_without_repeating_it() -> None:
    config = ReasonerConfig(backend="server", server_url="http://robot:hunter2@host/v1")
    with pytest.raises(ConfigError, match=r"reasoner\.server_url") as caught:
        ServerReasoner(load_card("vision-reasoner-7b", "reasoner"), config)
    assert "hunter2" not in str(caught.value) and "server_key_variable" in str(caught.value)


@pytest.mark.parametrize("key", ["", " \n", "schlüssel", "two words", "a\nb", "a\x1bb"])
def test_a_key_that_cannot_be_sent_is_a_wrong_setting(
    server: Server, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOT_KEY", key)
    with pytest.raises(ConfigError, match=r"reasoner\.server_key_variable = 'ROBOT_KEY'") as caught:
        reasoner_for(server, server_key_variable="ROBOT_KEY")
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize("url", ["/v1", "/v1/", "/v1/chat/completions", "/v1/chat/completions/"])
def test_the_address_may_be_the_base_or_the_whole(server: Server, frame: Frame, url: str) -> None:
    reasoner_for(server, server_url=f" http://127.0.0.1:{server.port}{url}\n").answer(frame, "red")
    assert server.requests[0].startswith("POST /v1/chat/completions HTTP/1.1")


def test_a_proxy_of_the_environment_is_used(server: Server, frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://robot:s%20cret@127.0.0.1:{server.port}")
    reasoner = reasoner_for(server, server_url="http://gpu.example:8000/v1")
    assert reasoner.answer(frame, "red").status is Status.OK
    assert server.requests[0].startswith("POST http://gpu.example:8000/v1/chat/completions HTTP/1.1")
    assert "\r\nHost: gpu.example:8000\r\n" in server.requests[0]
    assert "\r\nProxy-Authorization: Basic cm9ib3Q6cyBjcmV0" in server.requests[0]


def test_a_server_on_this_machine_is_asked_without_a_proxy(
    server: Server, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert reasoner_for(server).answer(frame, "red").status is Status.OK
    monkeypatch.setenv("http_proxy", "socks5://proxy:1080")
    with pytest.raises(ConfigError, match=r"http_proxy.*no_proxy"):
        reasoner_for(server, server_url="http://gpu.example/v1")
    monkeypatch.setenv("no_proxy", "gpu.example")
    reasoner_for(server, server_url="http://gpu.example/v1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and its certificate for 127.0.0.1."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:gpu.example"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *curve, *names, *files], check=True, capture_output=True)
    pem = folder / "both.pem"
    pem.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return pem


def over_tls(server: Server, certificate: Path) -> None:
    """Have the server speak TLS from its very first byte."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    serve = server._serve

    def shake_hands(wire: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client refuses the certificate
            serve(context.wrap_socket(wire, server_side=True))

    server._serve = shake_hands  # type: ignore[method-assign]


def test_https_is_asked_where_its_certificate_is_trusted(
    server: Server, frame: Frame, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over_tls(server, certificate)
    url = f"https://127.0.0.1:{server.port}/v1"
    answer = reasoner_for(server, server_url=url, server_retries=3).answer(frame, "red")
    assert answer.status is Status.UNAVAILABLE
    assert "certificate is not trusted" in answer.error and "SSL_CERT_FILE" in answer.error
    assert server.requests == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert reasoner_for(server, server_url=url).answer(frame, "red").status is Status.OK
    server.behaviour = lambda wire, _: server.ended.wait(10)
    assert reasoner_for(server, server_url=url).answer(frame, "red", Call(time_limit_s=0.3)).status is Status.TIMEOUT
    assert wait_until(lambda: not talking_threads())


def test_a_silent_handshake_ends_at_the_time_limit(server: Server, frame: Frame) -> None:
    server._serve = lambda wire: server.ended.wait(10)  # type: ignore[method-assign,assignment,return-value]
    reasoner = reasoner_for(server, server_url=f"https://127.0.0.1:{server.port}/v1")
    answer = reasoner.answer(frame, "a", Call(time_limit_s=0.3))
    assert answer.status is Status.TIMEOUT
    assert wait_until(lambda: not talking_threads())


def test_plain_http_under_an_https_address_says_so(server: Server, frame: Frame) -> None:
    server._serve = lambda wire: wire.close()  # type: ignore[method-assign]
    answer = reasoner_for(server, server_url=f"https://127.0.0.1:{server.port}/v1").answer(frame, "a")
    assert answer.status is Status.UNAVAILABLE and "cannot be reached" in answer.error


def test_https_goes_through_a_proxy_unread(
    server: Server, frame: Frame, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    tunnels = []

    def tunnel(wire: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += wire.recv(4096)
        tunnels.append(request.split(b"\r\n")[0])
        wire.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        serve(context.wrap_socket(wire, server_side=True))

    serve, server._serve = server._serve, tunnel  # type: ignore[method-assign]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("ROBOT_KEY", KEY)
    reasoner = reasoner_for(server, server_url="https://gpu.example/v1", server_key_variable="ROBOT_KEY")
    answer = reasoner.answer(frame, "red")
    assert answer.status is Status.OK, answer.error
    assert tunnels == [b"CONNECT gpu.example:443 HTTP/1.1"] or tunnels == [b"CONNECT gpu.example:443 HTTP/1.0"]
    assert f"Bearer {KEY}" in server.requests[0]

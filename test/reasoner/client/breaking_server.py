"""A server on the loopback that behaves as it is set to, byte for byte, and a reasoner that asks it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.server.reasoner import ServerReasoner

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
    """Accepts on the loopback, reads each request, and hands the socket to `behaviour` in a separate thread."""

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


def reasoner_for(server: Server, **changes: Any) -> ServerReasoner:
    config = ReasonerConfig(backend="server", server_url=f"http://127.0.0.1:{server.port}/v1", server_retries=0)
    return ServerReasoner(load_card("vision-reasoner-7b", "reasoner"), replace(config, **changes))


def talking_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "reasoner-server"]


def wait_until(condition: Callable[[], bool], limit_s: float = 30.0) -> bool:
    deadline_s = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return condition()

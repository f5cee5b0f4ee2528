"""Behaviours of a server on the loopback, and a reasoner that asks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.server.reasoner import ServerReasoner

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


def reasoner_for(port: int, **changes: Any) -> Any:
    config = ReasonerConfig(backend="server", server_url=f"http://127.0.0.1:{port}/v1", server_retries=0)
    config = replace(config, **{"model": "vision-reasoner-7b", **changes})
    return ServerReasoner(load_card(config.model, "reasoner"), config)


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

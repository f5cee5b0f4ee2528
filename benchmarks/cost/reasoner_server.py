"""The embedded reasoner behind an OpenAI-compatible address on loopback, one answer at a time. Prints its address."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

from reasonseg_ros.config import config_from
from reasonseg_ros.reasoner.limits import Limits
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.reasoner.onnx.reasoner import OnnxReasoner

reasoner = load_reasoner(config_from({"reasoner.backend": "onnxruntime"}).reasoner)
assert isinstance(reasoner, OnnxReasoner)
model: OnnxReasoner = reasoner
turn = threading.Lock()


def answered(request: Any) -> str:
    """The text for a chat about one image."""
    address = next(
        part["image_url"]["url"]
        for message in request["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    )
    data = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
    rgb = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    messages = [
        {
            **message,
            "content": message["content"]
            if isinstance(message["content"], str)
            else [{"type": "image"} if part["type"] == "image_url" else part for part in message["content"]],
        }
        for message in request["messages"]
    ]
    with turn:
        return model.say(messages, [rgb], Limits(int(request.get("max_tokens", 200)), 600.0)).text


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = answered(request)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for delta, reason in (({"content": text}, None), ({}, "stop")):
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever()

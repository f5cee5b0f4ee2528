"""An OpenAI-compatible server on the loopback with replies from the test, and COCO pictures for it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PROMPT_TOKENS, TOKENS = 1000, 50
CAPTION = json.dumps({"caption": "A red cup, a blue book and two spoons on a table."})
NAMING = json.dumps({"caption": "Things.", "names": {"1": "book", "2": "cup", "3": "spoon"}})
Replying = Callable[[str, "VisionServer"], str]
"""The reply to the text of a request. It may sleep or raise Refuse."""


class Refuse(Exception):
    """Answer with an HTTP status."""


class VisionServer(ThreadingHTTPServer):
    """Stores the requests; `replying` makes the replies."""

    daemon_threads = True

    def __init__(self, replying: Replying) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replying = replying
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.counts = True
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def words(self) -> list[str]:
        return [words_of(request) for request in self.requests]

    def handle_error(self, *_: Any) -> None:
        """Ignore errors, because the client closes the connection on purpose in some tests."""


class _Handler(BaseHTTPRequestHandler):
    server: VisionServer

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.server.keys.append(self.headers.get("Authorization", ""))
        try:
            text = self.server.replying(words_of(request), self.server)
        except Refuse as refusal:
            self._send(int(str(refusal)), b'{"error": {"message": "not now"}}', "application/json")
            return
        events: list[Any] = [
            {"choices": [{"delta": {"content": text[at : at + 40]}}]} for at in range(0, len(text), 40)
        ]
        events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        if self.server.counts and request.get("stream_options") == {"include_usage": True}:
            events.append({"choices": [], "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": TOKENS}})
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self._send(200, body.encode(), "text/event-stream")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def words_of(request: dict[str, Any]) -> str:
    """The text of a request's last message."""
    return next(part["text"] for part in request["messages"][-1]["content"] if part["type"] == "text")


def images_of(request: dict[str, Any]) -> int:
    return sum(part["type"] == "image_url" for part in request["messages"][-1]["content"])


@contextmanager
def serving(replying: Replying) -> Iterator[VisionServer]:
    server = VisionServer(replying)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def sleep(server: VisionServer, seconds: float) -> None:
    """Sleep for `seconds`, or until the test ends."""
    deadline_s = time.monotonic() + seconds
    server.ended.wait(max(0.0, deadline_s - time.monotonic()))


def said(*questions: tuple[str, Sequence[int]] | tuple[str, Sequence[int], str]) -> str:
    """A well-formed reply."""
    listed = [
        {"question": one[0], "objects": list(one[1]), "answer": one[2] if len(one) > 2 else "It is made for that."}
        for one in questions
    ]
    return json.dumps({"questions": listed})


def good(words: str, _: VisionServer) -> str:
    """Valid replies about the pictures of `write_coco`."""
    if "Write" not in words or "questions. Keep" not in words:
        return CAPTION
    return said(
        ("Which thing would keep tea warm for a while?", [2]),
        ("What could somebody read on a long journey?", [1]),
        ("What helps to stir sugar into a drink?", [3, 4]),
        ("Which things are made of shiny metal?", [3, 4]),
        ("What is printed on many thin sheets?", [1]),
    )


def write_coco(folder: Path, pictures: int = 2, sizes: Sequence[int] = (40, 24, 12, 10)) -> Path:
    """A COCO-style file with a book, a cup and two spoons in each picture, and the images beside it."""
    images, annotations = [], []
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(pictures):
        pixels = rng.integers(0, 255, (96, 128, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 96})
        left = 2
        for size, category in zip(sizes, (2, 1, 3, 3), strict=True):
            polygon = [left, 5, left + size, 5, left + size, 5 + size, left, 5 + size]
            entry = {"image_id": number, "category_id": category, "segmentation": [polygon], "iscrowd": 0}
            annotations.append({"id": len(annotations), **entry})
            left += size + 4
    categories = [
        {"id": 1, "name": "cup", "synonyms": ["mug"]}, {"id": 2, "name": "book"}, {"id": 3, "name": "spoon"},
    ]  # fmt: skip
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path

"""Ctrl-C and SIGTERM during `reasonseg evaluate`, with a server on the loopback that stops answering."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from reasonseg_ros import cli
from test.loopback import serving

ROOT = Path(__file__).resolve().parents[2]
SHOWN_BOX = (105, 140, 315, 420)
"""The box 8, 8, 24, 24 of a bag's image of 64 x 48, in the 840 x 840 that the server is shown."""
GENEROUS_S = 120.0
FEW_S = 60.0
"""Far below the hour that a run waits for one answer; a busy machine needs some of it to end the process."""
ANSWERED = 2


class Handler(BaseHTTPRequestHandler):
    """Answers the first `answered` requests. Later ones wait until `released`, with or without the first words."""

    server: Any

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        hangs = self.server.requests > self.server.answered
        if hangs and not self.server.begins:
            self.server.hung.set()
            self.server.released.wait(GENEROUS_S)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if hangs:
            self._send({"delta": {"content": "<think>I look"}})
            self.server.hung.set()
            self.server.released.wait(GENEROUS_S)
            return
        self._send({"delta": {"content": self.server.text}})
        self._send({"delta": {}, "finish_reason": "stop"})
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, choice: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(answer_text: Callable[..., str]) -> Iterator[Any]:
    released = threading.Event()
    with serving(
        Handler, text=answer_text(SHOWN_BOX), requests=0, answered=ANSWERED, begins=False, hung=threading.Event(),
        released=released,
    ) as instance:  # fmt: skip
        yield instance
        released.set()


@pytest.mark.parametrize(
    ("number", "begins", "status", "words"),
    [
        (signal.SIGINT, False, cli.INTERRUPTED, "interrupted"),
        (signal.SIGTERM, True, 128 + signal.SIGTERM, "ended by a signal"),
    ],
)
def test_a_signal_on_a_hung_server_ends_the_run_soon_and_it_can_be_resumed(
    server: Any, make_bag: Any, samples_of: Any, tmp_path: Path, number: int, begins: bool, status: int, words: str
) -> None:
    server.begins = begins
    bag, out = make_bag([samples_of(f"{n}", image=n) for n in range(6)]), tmp_path / "out"
    url = f"reasoner.server_url=http://127.0.0.1:{server.server_port}/v1"
    arguments = ["evaluate", str(bag), "--out", str(out), "--ahead", "4", "--reasoner", "vision-reasoner-7b"]
    arguments += ["--set", "reasoner.backend=server", url]
    command = [sys.executable, "-c", "import sys; from reasonseg_ros.cli import main; sys.exit(main())", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    lines = out / "results.jsonl"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert server.hung.wait(GENEROUS_S)
            end_s = time.monotonic() + GENEROUS_S
            while not lines.exists() or lines.read_bytes().count(b"\n") < ANSWERED:
                assert process.poll() is None and time.monotonic() < end_s
                time.sleep(0.02)
            process.send_signal(number)
            _, errors = process.communicate(timeout=FEW_S)
        finally:
            process.kill()
    assert process.returncode == status
    assert words in errors and "--resume" in errors and "Traceback" not in errors
    kept = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [(line["sample_id"], line["status"]) for line in kept] == [("0", "ok"), ("1", "ok")]

    server.answered, server.requests = 6, 0
    assert cli.main([*arguments, "--resume"]) == 0
    assert server.requests == 4, "the answers that were kept are not asked for again"
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["samples"] == 6 and summary["failed"] == 0

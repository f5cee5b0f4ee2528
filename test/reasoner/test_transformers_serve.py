"""The server reasoner against a real server: `transformers serve` with a checkpoint of random weights."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.known_picture import check_configured
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.types import Frame, Status

pytest.importorskip("fastapi", reason="transformers[serving] is not installed")
START_LIMIT_S = 240.0


@pytest.fixture(scope="module")
def server_url(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [str(Path(sys.executable).with_name("transformers")), "serve", "--host", "127.0.0.1", "--device", "cpu"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--port", str(port)], stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline_s = time.monotonic() + START_LIMIT_S
        while not is_up(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def test_the_server_says_what_the_local_model_says(server_url: str, checkpoint: Path, frame: Frame) -> None:
    remote = load_reasoner(
        ReasonerConfig(backend="server", model=str(checkpoint), server_url=server_url, server_model=str(checkpoint))
    )
    heard: list[int] = []
    said = remote.answer(frame, "What is red?", Call(max_new_tokens=6, on_text=lambda _, tokens: heard.append(tokens)))
    assert said.status is not Status.UNAVAILABLE, said.error
    local = load_reasoner(ReasonerConfig(model=str(checkpoint), device="cpu", dtype="float32"))
    expected = local.answer(frame, "What is red?", Call(max_new_tokens=6))
    assert said.raw_text == expected.raw_text
    assert said.status == expected.status
    assert heard == list(range(1, said.tokens + 1))


def test_an_unknown_model_is_unavailable(server_url: str, frame: Frame, tmp_path: Path) -> None:
    card, missing = tmp_path / "unknown.yaml", "/no/such/model"  # a path: a mere name would be looked up in the hub
    card.write_text(f"kind: reasoner\nsource: {missing}\ndialect: seg_zero\nimage_size_wh: [84, 84]\n")
    config = ReasonerConfig(
        backend="server", model=str(card), server_url=server_url, server_retries=0, server_model=missing
    )
    answer = load_reasoner(config).answer(frame, "What is red?")
    assert answer.status is Status.UNAVAILABLE
    assert answer.error


def test_the_embedded_reasoner_behind_a_server_passes_its_known_picture(server_url: str) -> None:
    folder = load_card("tabletop-reasoner", "reasoner").source  # this server loads what is named
    config = ReasonerConfig(backend="server", server_url=server_url, server_model=folder)
    result = check_configured(load_reasoner(config), config)
    assert result.state == "right", result.text
    assert all(found.answer.tokens > 1 for found in result.found)

"""`reasonseg check-server` against a server on the loopback that answers in coordinates of its choice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasonseg_ros.cli import main
from reasonseg_ros.reasoner.known_picture import drawn_picture
from test.loopback import serving


class Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.append(self.headers["Authorization"])
        words = request["messages"][-1]["content"][-1]["text"]
        box = next(target.box_xyxy for target in drawn_picture()[1] if f'"{target.question}"' in words)
        numbers = (box * np.tile(np.array(self.server.answer_wh) / (640, 480), 2)).tolist()
        message = {"content": json.dumps([{"bbox_2d": numbers, "label": words[6:20]}])}
        body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    with serving(Handler, answer_wh=(1000, 1000), keys=[]) as instance:
        yield instance


def check(server: Any, *arguments: str, model: str = "qwen3-vl-8b") -> int:
    return main(["check-server", "--url", f"http://127.0.0.1:{server.server_port}/v1", "--model", model, *arguments])


def test_a_server_with_the_right_coordinates_passes(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(server) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:5] for line in lines[1:4]] == ["right"] * 3
    assert lines[4] == "3 of 3 boxes of the known picture are right"


def test_a_server_with_other_coordinates_is_refused(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    server.answer_wh = (640, 480)
    assert check(server) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("WRONG  the red circle: expected [450, 50, 571, 171], received [288, 24, 365, 82]")
    assert "the numbers look like pixels of the image at 640x480, but the card expects thousandths" in lines[4]
    assert check(server, model="qwen2.5-vl-7b") == 0


def test_parameters_come_from_a_file_and_from_options(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROBOT_KEY", "sk-of-the-robot")
    reasoner = {"model": "seg-zero-7b", "server_url": f"http://127.0.0.1:{server.server_port}/v1"}
    values = {"camera": {"depth": 5}, "reasoner": reasoner | {"server_key_variable": "ROBOT_KEY"}}
    (tmp_path / "robot.yaml").write_text(json.dumps({"/**": {"ros__parameters": values}}))
    file = ["--params", str(tmp_path / "robot.yaml")]
    assert main(["check-server", *file, "--set", "reasoner.model=qwen3-vl-8b"]) == 0
    assert set(server.keys) == {"Bearer sk-of-the-robot"}
    assert main(["check-server", *file, "--model", "vision-reasoner-7b"]) == 1
    assert "pixels of the image at 840x840" in capsys.readouterr().out


def test_a_server_that_is_away_is_reported_in_a_line(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    server.server_close()
    assert check(server, "--set", "reasoner.server_retries=0") == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[1].startswith("WRONG") and "cannot be reached" in lines[2]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--url", "here"], "reasoner.server_url = 'here'"),
        (["--key-variable", "NO_SUCH_KEY"], "reasoner.server_key_variable = 'NO_SUCH_KEY'"),
        (["--local", "--url", "http://host/v1"], "--local with --url"),
        (["--set", "reasoner.strct=true"], "did you mean reasoner.strict?"),
        (["--set", "segmenter.device=cpu"], "--set segmenter.device has no effect on the reasoner"),
        (["--url", "http://a/v1", "--set", "reasoner.server_url=http://b/v1"], "reasoner.server_url gets two values"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--params", "/no/such/file"], "parameter file /no/such/file cannot be read"),
        (["--params", __file__], "not a ROS 2 parameter file"),
        (["--set", "reasoner.nothing=5"], "reasoner.nothing"),
        (["--set", "reasoner"], "expected NAME=VALUE"),
        (["--set", "reasoner.model=["], "not YAML"),
    ],
)
def test_wrong_settings_end_in_one_line(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-server", *arguments]) == 2
    output = capsys.readouterr()
    assert reason in output.err and output.err.count("\n") == 1

from __future__ import annotations

import argparse
import io
import json
from types import SimpleNamespace

import pytest

from reasonseg_ros.commands.checkpoints.parse import parse_text, register


def run(monkeypatch: pytest.MonkeyPatch, text: bytes, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    parsed = parser.parse_args(["parse", *arguments])
    return int(parsed.run(parsed))


def test_the_result_is_one_line_of_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = b'<think>caf\xc3\xa9</think><answer>[{"bbox_2d": [84,84,420,420], "point_2d": [200,200]}]</answer>'
    assert run(monkeypatch, text, "--size", "840x420") == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {
        "status": "ok",
        "dialect": "vision_reasoner",
        "thought": "café",
        "groundings": [{"box_xyxy": [84, 42, 420, 210], "points_xy": [[200, 100]], "label": "", "score": 1.0}],
        "error": None,
    }


def test_options_reach_the_parser(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--size", "100x100", "--dialect", "qwen3-vl", "--model-size", "50x50")
    run(monkeypatch, b'[{"bbox_2d": [5, 5, 20, 20], "label": "a"}]', *arguments)
    assert json.loads(capsys.readouterr().out)["groundings"][0]["box_xyxy"] == [10, 10, 40, 40]
    run(monkeypatch, b"<answer>[{'bbox_2d': [5, 5, 20, 20]}]</answer>", "--size", "100x100", "--strict")
    assert json.loads(capsys.readouterr().out)["status"] == "unparsable"


def test_bytes_that_are_no_text_are_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, b"\xff\xfe\x00", "--size", "640x480") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "unparsable"


@pytest.mark.parametrize("size", ["640", "0x480", "-1x5", "axb", "640x480x3", ""])
def test_a_bad_size_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], size: str) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, b"", f"--size={size}")
    assert "640x480" in capsys.readouterr().err


def test_nothing_is_null_not_empty() -> None:
    assert parse_text("hello", (640, 480))["dialect"] is None
    assert parse_text("<answer>[]</answer>", (640, 480))["error"] is None

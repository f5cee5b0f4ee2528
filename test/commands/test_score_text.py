"""`reasonseg score-text` from stdin to JSON."""

import io
import json
from types import SimpleNamespace

import pytest

from reasonseg_ros.cli import main
from reasonseg_ros.training.rows import TrainingRow, TrueTarget, write_rows

TEXT = b'<think>a cup</think><answer>[{"bbox_2d": [100, 100, 199, 199], "point_2d": [180, 150]}]</answer>\n'
TARGETS = '[{"box_xyxy": [100, 100, 199, 199], "points_xy": [[150, 150]]}]'


@pytest.fixture(autouse=True)
def _text(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(TEXT)))


def test_parts_are_printed(capsys):
    assert main(["score-text", "--targets", TARGETS]) == 0
    parts = {"thought_format": 1, "answer_format": 2, "accuracy": 2, "no_repetition": 1}
    assert json.loads(capsys.readouterr().out) == {"reward": 6, "parts": parts}


def test_the_truth_may_be_a_row(tmp_path, capsys):
    (tmp_path / "a.png").touch()
    write_rows(tmp_path, [TrainingRow("7", "a.png", "a cup", (TrueTarget((100, 100, 199, 199), ((150, 150),)),))])
    assert main(["score-text", "--rows", str(tmp_path), "--id", "7"]) == 0
    assert json.loads(capsys.readouterr().out)["reward"] == 6
    assert main(["score-text", "--rows", str(tmp_path)]) == 2
    assert "0 rows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--targets", TARGETS, "--reward", "best"], "expected one of seg_zero"),
        (["--targets", "[{]"], "not JSON"),
        (["--targets", '[{"box_xyxy": [1]}]'], "4 numbers"),
        (["--targets", TARGETS, "--id", "7"], "--id has no effect without --rows"),
    ],
)
def test_wrong_use_is_one_line(capsys, arguments, said):
    assert main(["score-text", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


ROUND_1 = b'<think>it fell.</think><answer>[{"frame_idx": 2, "object description": "the red mug"}]</answer>\n'
BOXES = "[[0, 0, 9, 9], [0, 0, 19, 9], [0, 0, 29, 9], null]"


def test_two_rounds_are_scored_together(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(ROUND_1)))
    second = tmp_path / "second.txt"
    second.write_text('<think>a mug</think><answer>[{"bbox_2d": [0, 0, 19, 9], "point_2d": [5, 5]}]</answer>\n')
    assert main(["score-text", "--reward", "revseg", "--boxes", BOXES, "--second-round", str(second)]) == 0
    parts = {"format": 1, "temporal": 0.5, "spatial": 1}
    assert json.loads(capsys.readouterr().out) == {"reward": 2.5, "parts": parts}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--reward", "revseg", "--targets", TARGETS], "needs --boxes or --rows"),
        (["--boxes", BOXES], "belong to revseg"),
        (["--targets", TARGETS, "--second-round", "text.txt"], "belong to revseg"),
        (["--reward", "revseg", "--boxes", "[[1]]"], "for each frame"),
        (["--reward", "revseg", "--boxes", "[]"], "for each frame"),
        (["--reward", "revseg", "--boxes", BOXES, "--second-round", "none.txt"], "none.txt"),
    ],
)
def test_two_rounds_and_one_image_are_not_mixed(capsys, arguments, said):
    assert main(["score-text", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1

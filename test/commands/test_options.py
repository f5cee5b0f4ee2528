"""Values of options are checked where they are read, whatever the verb."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasonseg_ros import cli


def options(parser: argparse.ArgumentParser, verb: str = "") -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from options(inner, f"{verb} {name}")
        else:
            yield verb, action


def test_every_number_has_bounds() -> None:
    """`int` and `float` alone let NaN, infinity and negative counts through to the work."""
    found = list(options(cli._parser()))
    assert len(found) > 100
    bare = [f"{verb} {action.dest}" for verb, action in found if action.type in (int, float) and not action.choices]
    assert bare == []


@pytest.mark.parametrize(
    "command",
    [
        "ask --node x --wait nan",
        "train scenes --out out --seeds 5 0",
        "train videos --out out --seeds 5 0",
        "train segmenter evaluate --seeds 5 0",
        "train scenes --out out --seeds 5 1000000000000000000",
        "ask --node x --wait -1",
        "ask --node x --wait inf",
        "play bag --rate 0",
        "play bag --rate nan",
        "play bag --hold -2",
        "play bag --delay 1e99",
        "console --port 65536",
        "console --port -1",
        "console --rate nan",
        "mcp --side 63",
        "mcp --limit 0",
        "mcp --per-minute 0",
        "doctor --listen inf",
        "demo --min-giou 1.5",
        "tabletop bag --seed -1 --scenes 1",
        "tabletop bag --seed 1 --scenes 0",
        "tabletop bag --seed 1 --scenes 1 --questions 0",
        "bag from-video reasonvos folder --out bag --rate 0",
        "bag from-video reasonvos folder --out bag --limit 0",
        "compare a b --changed-iou nan",
        "train scenes --seeds 1 -2 --out x",
        "train reasoner --minutes nan --scenes x",
    ],
)
def test_a_number_out_of_its_bounds_is_refused_by_its_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(command.split())
    assert ended.value.code == cli.USAGE_ERROR
    assert "expected a" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bad name", "/", "", "/robot 1/reasonseg", "//reasonseg", "1robot/x", "röbot", "~/x"])
@pytest.mark.parametrize("verb", [["ask", "--node", "x"], ["console"], ["mcp"]])
def test_a_name_that_no_node_can_have_is_refused(
    verb: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*verb, "--name", name])
    assert ended.value.code == cli.USAGE_ERROR
    assert "for example /" in capsys.readouterr().err


def test_names_that_ros_allows_are_taken() -> None:
    for name in ("reasonseg", "/reasonseg", "robot_1/reasonseg", "/a/b_2/_c"):
        assert cli._parser().parse_args(["console", "--name", name]).name == name
    assert cli._parser().parse_args(["doctor", "--image-topic", "/camera/image_raw"]).image_topic == "/camera/image_raw"
    assert cli._parser().parse_args(["console"]).image_topic == ""


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("tabletop bag --seed 1 --scenes 1 --rate 4", "--rate has no effect without --video"),
        ("tabletop bag --seed 1 --scenes 1 --track", "--track has no effect without --video"),
        ("doctor --listen 1", "--listen has no effect without --topics"),
        ("doctor --image-topic /image", "--image-topic has no effect without --topics"),
        ("ask image.png what --wait 3", "--wait has no effect without --node"),
        ("ask image.png what --name /other", "--name has no effect without --node"),
        ("evaluate bag --workers 2", "--workers has no effect without --ray"),
        ("evaluate bag --ray --ahead 2", "--ahead has no effect with --ray"),
        ("train data bag --count 3", "--count has no effect without --scenes or --videos"),
        ("train data --scenes scenes --points 2", "--points has no effect without a bag"),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(
    command: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = (
        ["--out", "out.png"] if command.startswith("ask") else [] if command.startswith("doctor") else ["--out", "out"]
    )
    assert cli.main([*command.split(), *out]) == 2
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []

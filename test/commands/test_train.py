"""`reasonseg train data`, `train grpo` and `train sft` from the command line."""

import argparse
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from reasonseg_ros.cli import main
from reasonseg_ros.commands import train
from reasonseg_ros.training.reinforcement.plan import GrpoPlan, RunPlan


@pytest.mark.parametrize(("verb", "plan"), [("grpo", GrpoPlan), ("sft", RunPlan)])
def test_the_options_of_a_run_are_the_settings_of_its_plan_with_their_defaults(tmp_path, verb, plan):
    parser = argparse.ArgumentParser()
    train.register(parser.add_subparsers())
    settings = parser.parse_args(["train", verb, "--rows", "rows", "--out", str(tmp_path)])
    for field in fields(plan):
        assert hasattr(settings, field.name), field.name
        if field.default is not MISSING:
            assert getattr(settings, field.name) == field.default, field.name


def test_rows_that_are_not_there_are_one_line(tmp_path, capsys):
    arguments = ["train", "grpo", "--rows", str(tmp_path / "none"), "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "cannot read" in error and "rows.jsonl" in error and error.count("\n") == 1


@pytest.mark.parametrize("count", ["0", "-3"])
def test_no_rows_cannot_be_written(tmp_path, capsys, count):
    arguments = ["train", "data", "--scenes", str(tmp_path), "--out", str(tmp_path / "rows"), "--count", count]
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "expected a whole number, 1 or more" in capsys.readouterr().err
    assert not Path(tmp_path / "rows").exists()


@pytest.mark.parametrize(
    ("shown", "kind", "said"),
    [
        ("--videos", "function", "--kinds has no effect with --videos"),
        ("--scenes", "colour", "invalid choice: 'colour'"),
    ],
)
def test_kinds_without_effect_are_refused_by_validate(tmp_path, capsys, shown, kind, said):
    try:
        status = main(["train", "validate", shown, str(tmp_path), "--kinds", kind])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert said in capsys.readouterr().err

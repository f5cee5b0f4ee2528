"""`reasonseg doctor` on this machine."""

import json

import pytest

from reasonseg_ros import cli
from reasonseg_ros.doctor.run import CHECKS


def run(capsys, *arguments):
    status = cli.main(["doctor", *arguments])
    return status, capsys.readouterr().out


def test_every_check_says_something_about_this_machine(capsys):
    status, text = run(capsys, "--json")
    report = json.loads(text)
    assert {row["check"] for row in report["findings"]} == {check.name for check in CHECKS}
    assert status == (report["worst"] == "fault")
    assert all(row["remedy"] for row in report["findings"] if row["level"] != "ok")
    assert "this check failed" not in text
    models = " ".join(row["text"] for row in report["findings"] if row["check"] == "models")
    assert "tabletop-reasoner, knows the simulated tabletop only" in models


def test_settings_that_do_not_work_here_are_a_fault(capsys):
    status, text = run(capsys, "--set", "segmenter.model=/no/such/folder")
    assert status == 1
    assert "FAULT   models: segmenter:" in text and text.rstrip().splitlines()[-1].endswith("warnings")


def test_a_parameter_file_is_judged(tmp_path, capsys):
    path = tmp_path / "robot.yaml"
    path.write_text("/**:\n  ros__parameters:\n    use_sim_time: true\n    reasoner.model: qwen2.5-vl-3b\n")
    _, text = run(capsys, "--params", str(path))
    assert "reasoner qwen2.5-vl-3b" in text and "forbids commercial use" in text


def test_a_setting_that_does_not_exist_is_one_line(capsys):
    assert cli.main(["doctor", "--set", "camera.speed=1"]) == cli.USAGE_ERROR
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("word", ["--topics", "--online", "--json"])
def test_help_names_the_options(word, capsys):
    with pytest.raises(SystemExit):
        cli.main(["doctor", "--help"])
    assert word in capsys.readouterr().out

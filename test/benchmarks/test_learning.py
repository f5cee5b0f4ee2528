"""The comparison of ways to learn: its questions, its differences, and a whole small run."""

import json

import numpy as np
import pytest
from scipy.stats import bootstrap

from benchmarks.learning import __main__ as learning
from benchmarks.learning import report, scores
from reasonseg_ros.tabletop.questions.unknown import TEST
from reasonseg_ros.training.rendered.scenes import SceneFiles, write_chunk
from test.training.conftest import draw_scene

pytest.importorskip("tensorboard")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_chunk((draw_scene(seed) for seed in range(8)), folder / "scenes_0000000000")
    return folder


def test_a_difference_has_the_interval_of_scipy():
    rng = np.random.default_rng(1)
    before = (rng.random(400) < 0.8).astype(float)
    after = np.where(rng.random(400) < 0.9, before, 1 - before)
    change, low, high = report.difference(after, before)
    theirs = bootstrap((after - before,), np.mean, method="percentile", n_resamples=2000, rng=2).confidence_interval
    assert change == pytest.approx((after - before).mean())
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.005)


def test_the_same_questions_are_asked_of_every_checkpoint(scene_folder):
    files = SceneFiles(scene_folder)
    drawn = {name: scores.test_set(files, name, 14) for name in scores.SETS}
    texts = {name: [question.text for _, question in asked] for name, asked in drawn.items()}
    assert texts == {name: [q.text for _, q in scores.test_set(files, name, 14)] for name in scores.SETS}
    assert texts["dark and blurred"] == texts["trained phrasings"]
    assert set(texts["out of world"]) <= set(TEST)
    pairs = zip(drawn["trained phrasings"], drawn["dark and blurred"], strict=True)
    assert all(dark.rgb.mean() < 0.6 * scene.rgb.mean() for (scene, _), (dark, _) in pairs)


def test_a_run_ends_in_a_table_and_goes_on_where_it_was_stopped(scene_folder, tmp_path, monkeypatch, capsys):
    arguments = [
        "learning", "--scenes", str(scene_folder), "--test-scenes", str(scene_folder), "--out", str(tmp_path),
        "--cpu-s", "0.001", "--rows", "4", "--questions", "2", "--sampled", "1", "--seeds", "1",
        "--arms", "start", "SFT wide",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", arguments)
    learning.main()
    table = (tmp_path / "table.md").read_text()
    assert "start (1) | SFT wide (1)" in table and "everyday phrasings, mean of 8 (1)" in table
    assert (tmp_path / "comparison.png").stat().st_size > 10_000
    files = sorted((tmp_path / "scores").rglob("*.json"))
    assert len(files) == 2 * len(scores.SETS)
    files[0].unlink()
    capsys.readouterr()
    learning.main()
    said = capsys.readouterr().out
    assert said.count(" right\n") == 1 and "from step" not in said and (tmp_path / "table.md").read_text() == table


def test_other_checkpoints_are_scored_beside_the_start(scene_folder, tmp_path, monkeypatch, capsys):
    arguments = [
        "learning", "--scenes", str(scene_folder), "--test-scenes", str(scene_folder), "--out", str(tmp_path),
        "--questions", "2", "--sampled", "1", "--arms", "start", "--checkpoints",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", [*arguments, "copy=models/tabletop/reasoner"])
    learning.main()
    assert (tmp_path / "table.md").read_text().startswith("| share right | start (1) | copy (1) |")
    for wrong in ("start=models/tabletop/reasoner", "copy=nowhere", "models/tabletop/reasoner"):
        monkeypatch.setattr("sys.argv", [*arguments, wrong])
        with pytest.raises(SystemExit) as ended:
            learning.main()
        assert ended.value.code == 2 and "expected NAME=FOLDER" in capsys.readouterr().err


def test_runs_of_an_arm_are_averaged_question_by_question(tmp_path, capsys):
    name = "trained phrasings"
    for run, right, of_8 in (
        ("start 0", [0, 1], [0, 8]),
        ("SFT wide 0", [1, 1], [1, 8]),
        ("SFT wide 1", [0, 1], [0, 8]),
    ):
        (tmp_path / "scores" / run).mkdir(parents=True)
        values = {"question": ["a", "b"], "kind": ["none", "several"], "right": right, "right_of_8": of_8}
        (tmp_path / "scores" / run / f"{name}.json").write_text(json.dumps(values))
    report.write_report(tmp_path, ["start", "SFT wide", "GRPO wide"])
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0] == "| share right | start (1) | SFT wide (2) |"
    assert "| 0.500 [0.000, 1.000] | 0.750 (+0.250 [" in lines[2]
    assert "mean of 8" in lines[3] and "| 0.531 (+0.031 [" in lines[3]
    assert "pass of 8" in lines[4] and "| 0.750 (+0.250 [" in lines[4]
    by_kind = next(line for line in lines if line.startswith(f"| {name} | SFT wide"))
    assert "1.000 (1)" in by_kind and "0.500 (1)" in by_kind

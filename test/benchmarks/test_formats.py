"""The comparison of soft and strict format: its texts, and a whole small run."""

import pytest

from benchmarks.learning import formats
from reasonseg_ros.training.reinforcement.rewards import RewardTruth, reward_parts
from reasonseg_ros.training.rendered.scenes import write_chunk
from reasonseg_ros.training.rows import TrainingRow, TrueTarget, read_rows
from test.training.conftest import draw_scene

pytest.importorskip("tensorboard")
pytest.importorskip("matplotlib")


@pytest.mark.parametrize(("keys", "strict"), [("soft", 1), ("strict", 5)])
def test_written_texts_earn_what_their_keys_earn(keys, strict):
    target = TrueTarget((75.0, 100.0, 150.0, 200.0), ((90.0, 150.0),))
    row = TrainingRow("1", "a.png", "a cup", (target,), "the cup.")
    text = formats.seg_zero_text(row, formats.KEYS[keys])
    truth = RewardTruth((target,), formats.IMAGE_WH)
    assert sum(reward_parts("seg_zero", text, truth).values()) == 5
    assert sum(reward_parts("seg_zero_strict", text, truth).values()) == strict


def test_a_run_ends_in_a_table_and_curves(tmp_path, monkeypatch, capsys):
    write_chunk((draw_scene(seed) for seed in range(8)), tmp_path / "scenes" / "scenes_0000000000")
    arguments = [
        "formats", "--scenes", str(tmp_path / "scenes"), "--test-scenes", str(tmp_path / "scenes"),
        "--out", str(tmp_path), "--first-cpu-s", "0.001", "--cpu-s", "0.001", "--rows", "8", "--questions", "8",
        "--prompts", "2",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", arguments)
    formats.main()
    assert all(len(row.targets) <= 1 for row in read_rows(tmp_path / "rows" / "train"))
    table = (tmp_path / "table.md").read_text()
    assert all(f"| {name}, {way} |" in table for name in ("start", "soft", "strict") for way in ("greedy", "sampled"))
    assert (tmp_path / "formats.png").stat().st_size > 10_000
    capsys.readouterr()
    formats.main()
    assert "from step" not in capsys.readouterr().out and (tmp_path / "table.md").read_text() == table

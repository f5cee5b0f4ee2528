"""Learn a format from rewards: Seg-Zero's soft and strict rewards, from a checkpoint that hardly knows the format.

    reasonseg train scenes --seeds 3000000 400 --out out/scenes
    reasonseg train scenes --seeds 33000000 200 --out out/test-scenes
    python -m benchmarks.learning.formats --scenes out/scenes --test-scenes out/test-scenes --out out/formats

The first checkpoint is trained on answers in three formats. Most are in the embedded reasoner's format, some have keys
that only the soft reward accepts, and few have exactly the keys of the strict reward. GRPO continues from it with each
reward for the same CPU time. `table.md` shows how often each checkpoint writes which format, and `formats.png` the
curves. A stopped run is resumed with the same command.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from reasonseg_ros.files.strict_json import json_text
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.training.reasoner.model import IMAGE_WH
from reasonseg_ros.training.reinforcement.rewards import RewardTruth, reward_parts
from reasonseg_ros.training.reinforcement.supervised import EmbeddedSupervised, response_text
from reasonseg_ros.training.rows import ROWS_NAME, TRUTH_PX, TrainingRow, read_rows, write_rows
from reasonseg_ros.training.scene_rows import write_scene_rows

REWARDS = {"soft": "seg_zero", "strict": "seg_zero_strict"}
KEYS = {"soft": ("bbox_2d", "points_a", "points_b"), "strict": ("bbox", "points_1", "points_2")}
"""Keys of the box and the two points. The soft reward accepts both sets, the strict one only the second."""
SHARES = {"soft": 0.3, "strict": 0.1}
"""Shares of the formats in the answers that the first checkpoint is trained on."""
_STEPS = 1_000_000
_FIRST_RATE = 1e-3
_AT_ONCE = 25


def seg_zero_text(row: TrainingRow, keys: tuple[str, str, str]) -> str:
    """The row's thought and its target with these keys, in pixels of the model's image. Both points are the same."""
    scale = [size / TRUTH_PX for size in IMAGE_WH]
    target = row.targets[0]
    box = [round(value * scale[i % 2]) for i, value in enumerate(target.box_xyxy)]
    point = [round(value * scale[i]) for i, value in enumerate(target.points_xy[0])]
    answer = json.dumps(dict(zip(keys, (box, point, point), strict=True)), separators=(",", ":"))
    return f"<think>{row.thought}</think><answer>{answer}</answer>"


class SeveralFormats(EmbeddedSupervised):
    """Learns answers with SHARES of Seg-Zero's formats."""

    def _text(self, row: TrainingRow, rng: np.random.Generator) -> str:
        drawn = rng.random()
        if row.targets and drawn < SHARES["strict"]:
            return seg_zero_text(row, KEYS["strict"])
        if row.targets and drawn < SHARES["strict"] + SHARES["soft"]:
            return seg_zero_text(row, KEYS["soft"])
        return response_text(row)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.formats", description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True, help="rendered scenes to train on")
    parser.add_argument("--test-scenes", type=Path, required=True, help="rendered scenes to ask about")
    parser.add_argument("--out", type=Path, required=True, help="rows, runs, scores, table and plot")
    parser.add_argument("--model", type=Path, default=Path("models/tabletop/reasoner"), help="first checkpoint")
    parser.add_argument("--first-cpu-s", type=float, default=120.0, help="CPU time of the training on several formats")
    parser.add_argument("--cpu-s", type=float, default=240.0, help="CPU time of each reward's training")
    parser.add_argument("--rows", type=int, default=1000, help="questions to train on; those with one target are kept")
    parser.add_argument("--prompts", type=int, default=16, help="questions per step")
    parser.add_argument("--questions", type=int, default=300, help="questions to ask; those with one target are kept")
    settings = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    train = _rows(settings.scenes, settings.out / "rows" / "train", settings.rows)
    test = _rows(settings.test_scenes, settings.out / "rows" / "test", settings.questions)
    first = settings.out / "runs" / "start"
    _train_first(settings.model, train, first, settings.first_cpu_s, settings.prompts)
    names = {"start": first} | {name: settings.out / "runs" / name for name in REWARDS}
    for name, reward in REWARDS.items():
        _train(first / "checkpoint", train, names[name], settings.cpu_s, settings.prompts, reward)
    scores = {name: _scores(settings.out / "scores" / f"{name}.json", folder, test) for name, folder in names.items()}
    _write_table(settings.out / "table.md", scores)
    _draw(settings.out / "formats.png", {name: names[name] for name in REWARDS})


def _rows(scenes: Path, folder: Path, count: int) -> Path:
    """Rows with one target or none, which Seg-Zero's reward can judge."""
    if not (folder / ROWS_NAME).exists():
        write_scene_rows(scenes, folder, count, "train", 0)
    write_rows(folder, [row for row in read_rows(folder) if len(row.targets) <= 1])
    return folder


def _train_first(model: Path, rows: Path, out: Path, cpu_s: float, prompts: int) -> None:
    from reasonseg_ros.training.reinforcement.plan import RunPlan
    from reasonseg_ros.training.reinforcement.run import train_to_end

    if not (out / "checkpoint").exists():
        limits = {"steps": _STEPS, "cpu_s": cpu_s, "prompts": prompts}
        train_to_end(SeveralFormats(RunPlan(model, rows, out, rate=_FIRST_RATE, save_every=20, **limits)))


def _train(model: Path, rows: Path, out: Path, cpu_s: float, prompts: int, reward: str) -> None:
    from reasonseg_ros.training.reinforcement.embedded import run_embedded
    from reasonseg_ros.training.reinforcement.plan import GrpoPlan

    if not (out / "checkpoint").exists():
        limits = {"steps": _STEPS, "cpu_s": cpu_s, "prompts": prompts}
        run_embedded(GrpoPlan(model, rows, out, reward=reward, save_every=10, **limits))


def _scores(path: Path, run: Path, folder: Path) -> dict[str, Any]:
    """The parts of both rewards and the length for each row, of the greedy answer and of one sample."""
    import torch

    from reasonseg_ros.training.reinforcement.image_run import asked
    from reasonseg_ros.training.reinforcement.policy import EmbeddedPolicy

    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    torch.set_num_threads(1)
    policy, rows = EmbeddedPolicy(run / "checkpoint"), [row for row in read_rows(folder) if row.targets]
    values: dict[str, Any] = {}
    for way, temperature in (("greedy", 0.0), ("sampled", 1.0)):
        texts, lengths = [], []
        for start in range(0, len(rows), _AT_ONCE):
            answers = policy.sampled(asked(folder, rows[start : start + _AT_ONCE]), 1, temperature, start)
            texts += [policy.text(tokens) for (tokens,) in answers]
            lengths += [len(tokens) for (tokens,) in answers]
        values[way] = {"length": lengths, "text": texts}
        for name, reward in REWARDS.items():
            truths = [RewardTruth(row.targets, IMAGE_WH) for row in rows]
            parts = [reward_parts(reward, text, truth) for text, truth in zip(texts, truths, strict=True)]
            values[way][name] = {part: [each[part] for each in parts] for part in parts[0]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json_text(values) + "\n")
    return values


def _write_table(path: Path, scores: dict[str, dict[str, Any]]) -> None:
    count = len(scores["start"]["greedy"]["length"])
    columns = ("soft format", "strict format", "IoU > 0.5 (soft)", "IoU > 0.5 (strict)", "tokens")
    lines = [f"| checkpoint ({count} questions) | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, ways in scores.items():
        for way, values in ways.items():
            shown = [
                *(np.mean(values[reward][part]) for part in ("answer_format", "box_iou") for reward in REWARDS),
                np.mean(values["length"]),
            ]
            numbers = [f"{value:.3f}" for value in shown[:-1]] + [f"{shown[-1]:.1f}"]
            lines.append(f"| {name}, {way} | " + " | ".join(numbers) + " |")
    text = "\n".join(lines) + "\n"
    path.write_text(text, encoding="utf-8")
    print(text)


def _draw(path: Path, runs: dict[str, Path]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    for number, (value, title) in enumerate(
        (
            ("answer_format", "format reward"),
            ("box_iou", "IoU reward"),
            ("reward", "whole reward"),
            ("length", "tokens"),
        ),
        1,
    ):
        axes = figure.add_subplot(1, 4, number)
        for name, folder in runs.items():
            lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
            axes.plot([line["step"] for line in lines], [line[value] for line in lines], label=name)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

"""Train the embedded reasoner on videos under ReVSeg's reward with its three temporal parts, and score each.

    reasonseg train videos --seeds 1000000 1600 --out out/videos
    reasonseg train videos --seeds 34000000 400 --out out/test-videos
    python -m benchmarks.learning.videos --videos out/videos --test-videos out/test-videos --out out/learning-videos

Arms run one after the other on one thread, each with the same CPU time. Both rounds are scored together, on questions
about the test videos in trained and in unseen sentences: greedily, and with eight samples at temperature 1. A stopped
run is resumed with the same command. `table.md` and `comparison.png` are written to the folder.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.learning.report import START, write_report
from benchmarks.learning.scores import SAMPLES
from reasonseg_ros.files.strict_json import json_text
from reasonseg_ros.files.whole_file import whole_file

ARMS = {START: "", "no temporal part": "revseg_no_temporal", "visible": "revseg_visible", "area": "revseg"}
"""The reward of each arm by its name in the table."""
PHRASINGS = {"train": "trained sentences", "unseen": "unseen sentences"}
_AT_ONCE = 10
_SEED = 7
_STEPS = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.videos", description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=Path, required=True, help="rendered videos to train on")
    parser.add_argument("--test-videos", type=Path, required=True, help="rendered videos to ask about")
    parser.add_argument("--out", type=Path, required=True, help="rows, runs, scores, table and plot")
    parser.add_argument("--model", type=Path, default=Path("models/tabletop/reasoner"), help="first checkpoint")
    parser.add_argument("--cpu-s", type=float, default=400.0, help="CPU time of each arm's training")
    parser.add_argument("--rows", type=int, default=1200, help="training questions, one per video")
    parser.add_argument("--questions", type=int, default=300, help="questions of each test set, one per video")
    parser.add_argument("--sampled", type=int, default=100, help="how many of these get eight samples")
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate of all arms")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each arm")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--report", action="store_true", help="only write the table and the plot of finished runs")
    settings = parser.parse_args()
    if not settings.report:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        for seed in range(settings.seeds):
            for arm in settings.arms if seed == 0 else [name for name in settings.arms if ARMS[name]]:
                _run(settings, arm, seed)
    sets = tuple(PHRASINGS.values())
    write_report(settings.out, list(ARMS), sets, sets)


def _run(settings: argparse.Namespace, arm: str, seed: int) -> None:
    import torch

    from reasonseg_ros.training.reinforcement.plan import GrpoPlan
    from reasonseg_ros.training.reinforcement.two_rounds import run_two_rounds

    torch.set_num_threads(1)
    model = settings.model
    if ARMS[arm]:
        rows = _rows(settings.videos, settings.out / "rows" / "train", settings.rows, "train")
        out = settings.out / "runs" / f"{arm} {seed}"
        if not (out / "checkpoint").exists():
            shared = {"steps": _STEPS, "cpu_s": settings.cpu_s, "rate": settings.rate, "seed": seed, "save_every": 5}
            run_two_rounds(GrpoPlan(model, rows, out, reward=ARMS[arm], **shared))
        model = out / "checkpoint"
    for phrasing, name in PHRASINGS.items():
        path = settings.out / "scores" / f"{arm} {seed}" / f"{name}.json"
        if not path.exists():
            rows = _rows(settings.test_videos, settings.out / "rows" / f"test {phrasing}", settings.questions, phrasing)
            _write_scores(path, model, rows, settings.questions, settings.sampled)


def _rows(videos: Path, folder: Path, count: int, phrasing: str) -> Path:
    from reasonseg_ros.training.rendered_video_rows import write_video_rows
    from reasonseg_ros.training.rows import ROWS_NAME

    if not (folder / ROWS_NAME).exists():
        write_video_rows(videos, folder, count, phrasing, _SEED)
    return folder


def _write_scores(path: Path, model: Path, folder: Path, questions: int, sampled: int) -> None:
    """As in `scores.write_scores`. The kind of a question is whether something fits."""
    import numpy as np

    from reasonseg_ros.training.reinforcement.policy import EmbeddedPolicy
    from reasonseg_ros.training.reinforcement.two_rounds import right_rollouts
    from reasonseg_ros.training.video_rows import VideoRow, read_video_rows

    policy, rows = EmbeddedPolicy(model), read_video_rows(folder)[:questions]

    def right(some: Sequence[VideoRow], group: int, temperature: float) -> list[int]:
        found: list[bool] = []
        for start in range(0, len(some), _AT_ONCE):
            part = some[start : start + _AT_ONCE]
            found += right_rollouts(policy, folder, part, group, temperature, _SEED + start)
        return [int(count) for count in np.reshape(found, (len(some), group)).sum(1)]

    values = {
        "kind": ["several frames" if any(row.boxes_xyxy) else "nothing" for row in rows],
        "question": [row.question for row in rows],
        "right": right(rows, 1, 0.0),
        "right_of_8": right(rows[:sampled], SAMPLES, 1.0),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json_text(values) + "\n")
    print(f"{path.parent.name}, {path.stem}: {np.mean(values['right']):.3f} of {len(rows)} right", flush=True)


if __name__ == "__main__":
    main()

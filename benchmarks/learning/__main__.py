"""Train the embedded reasoner in several ways with equal CPU time, score each, and write a table and a plot.

    reasonseg train scenes --seeds 3000000 400 --out out/scenes
    reasonseg train scenes --seeds 33000000 200 --out out/test-scenes
    python -m benchmarks.learning --scenes out/scenes --test-scenes out/test-scenes --out out/learning
    python -m benchmarks.learning --arms start --checkpoints "with thoughts=out/with" ...    # score others as well

One arm after the other, seed by seed, on one thread. A stopped run is resumed with the same command. `--report` writes
the table and the plot from the runs that are finished.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.learning.report import write_report

SFT = "sft"
ARMS = {
    "start": (),
    "SFT narrow": ((SFT, "train"),),
    "SFT wide": ((SFT, "wide"),),
    "GRPO narrow": (("vision_reasoner", "train"),),
    "GRPO wide": (("vision_reasoner", "wide"),),
    "SFT wide, then GRPO": ((SFT, "wide"), ("vision_reasoner", "wide")),
    "GRPO wide, IoU only": (("vision_reasoner_iou_only", "wide"),),
    "GRPO wide, L1 only": (("vision_reasoner_l1_only", "wide"),),
    "GRPO wide, point only": (("vision_reasoner_point_only", "wide"),),
}
"""Stages of each arm by its name: SFT or the reward of GRPO, and the phrasing of the questions. Stages share the arm's
CPU time."""

MANY_STEPS = 1_000_000


@dataclass(frozen=True)
class Settings:
    """Settings that all arms share.

    Attributes:
        scenes, test_scenes: folders of rendered scenes for training and for the tests.
        cpu_s: CPU time of each arm's training steps, seconds.
        rows: number of training questions of each phrasing.
        questions: number of questions of each test set, answered greedily.
        sampled: how many of these are also answered eight times at temperature 1.
    """

    scenes: Path
    test_scenes: Path
    out: Path
    model: Path
    cpu_s: float
    rows: int
    questions: int
    sampled: int
    rate: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True, help="rendered scenes to train on")
    parser.add_argument("--test-scenes", type=Path, required=True, help="rendered scenes to ask about")
    parser.add_argument("--out", type=Path, required=True, help="runs, scores, table and plot")
    parser.add_argument("--model", type=Path, default=Path("models/tabletop/reasoner"), help="first checkpoint")
    parser.add_argument("--cpu-s", type=float, default=240.0, help="CPU time of each arm's training")
    parser.add_argument("--rows", type=int, default=1000, help="training questions of each phrasing")
    parser.add_argument("--questions", type=int, default=1000, help="questions of each test set")
    parser.add_argument("--sampled", type=int, default=200, help="how many of these get eight samples")
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate of all arms")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each arm")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument(
        "--checkpoints", nargs="+", type=_named, default=[], metavar="NAME=FOLDER", help="checkpoints to score as well"
    )
    parser.add_argument("--report", action="store_true", help="only write the table and the plot of finished runs")
    given = vars(parser.parse_args())
    seeds, arms, checkpoints, is_report = (given.pop(name) for name in ("seeds", "arms", "checkpoints", "report"))
    settings = Settings(**given)
    if not is_report:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        for seed in range(seeds):
            for arm in arms if seed == 0 else [name for name in arms if ARMS[name]]:
                _run(settings, arm, seed)
        for name, folder in checkpoints:
            _score(settings, f"{name} 0", folder)
    write_report(settings.out, [*ARMS, *(name for name, _ in checkpoints)])


def _named(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not name or not separator or name in ARMS or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}; expected NAME=FOLDER with a new name and a checkpoint's folder")
    return name, Path(folder)


def _run(settings: Settings, arm: str, seed: int) -> None:
    model = settings.model
    for number, (way, phrasing) in enumerate(ARMS[arm], 1):
        out = settings.out / "runs" / f"{arm} {seed}" / str(number)
        _train(settings, way, phrasing, model, out, seed, settings.cpu_s / len(ARMS[arm]))
        model = out / "checkpoint"
    _score(settings, f"{arm} {seed}", model)


def _score(settings: Settings, run: str, model: Path) -> None:
    import torch

    from benchmarks.learning.scores import write_scores

    torch.set_num_threads(1)
    write_scores(settings.out / "scores" / run, model, settings.test_scenes, settings.questions, settings.sampled)


def _train(settings: Settings, way: str, phrasing: str, model: Path, out: Path, seed: int, cpu_s: float) -> None:
    import torch

    from reasonseg_ros.training.reinforcement.embedded import run_embedded
    from reasonseg_ros.training.reinforcement.plan import GrpoPlan, RunPlan
    from reasonseg_ros.training.reinforcement.supervised import run_supervised
    from reasonseg_ros.training.rows import ROWS_NAME
    from reasonseg_ros.training.scene_rows import write_scene_rows

    if (out / "checkpoint").exists():
        return
    torch.set_num_threads(1)
    rows = settings.out / "rows" / phrasing
    if not (rows / ROWS_NAME).exists():
        write_scene_rows(settings.scenes, rows, settings.rows, phrasing, 0)
    shared = {"steps": MANY_STEPS, "cpu_s": cpu_s, "rate": settings.rate, "seed": seed, "save_every": 20}
    if way == SFT:
        run_supervised(RunPlan(model, rows, out, **shared))
    else:
        run_embedded(GrpoPlan(model, rows, out, reward=way, **shared))


if __name__ == "__main__":
    main()

"""`reasonseg train points`: train the embedded segmenter's graph for single points, and measure everything mode."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import SeedRange, seed, size_wh, whole_number
from reasonseg_ros.files.outputs import add_output

MODEL = "tabletop-segmenter"


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "points",
        help="train the embedded segmenter's decoder for single points, and measure everything mode",
        description="Train a copy of the embedded segmenter's decoder on single points, for everything mode.",
    )
    kinds = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    train = kinds.add_parser("train", help="train, or continue a run; adds the graph to the export at the end")
    train.add_argument("--scenes", type=Path, required=True, help="folder of `reasonseg train scenes`")
    _add_run(train)
    train.add_argument("--seed", type=seed, default=0)
    train.add_argument("--threads", type=whole_number(1), default=1, help="CPU threads")
    train.set_defaults(action=_train)

    export = kinds.add_parser("export", help="add the graph of an unfinished run to the export")
    _add_run(export)
    export.set_defaults(action=_export)

    evaluate = kinds.add_parser("evaluate", help="score the proposals of everything mode on unseen scenes")
    evaluate.add_argument("--model", default=MODEL, help="segmenter: model card or folder")
    evaluate.add_argument("--seeds", action=SeedRange, required=True)
    evaluate.add_argument("--size", type=size_wh, default=(640, 480), metavar="WxH", help="pixels (default: 640x480)")
    evaluate.add_argument("--grid", type=size_wh, metavar="WxH", help="points across and down, as in 12x9")
    evaluate.set_defaults(action=_evaluate)

    parser.set_defaults(action=run)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=MODEL, help="segmenter: model card or folder (default: %(default)s)")
    add_output(
        parser, "--run", "folder", required=True, dest="run_folder", metavar="DIR", help="folder of the run's state"
    )
    add_output(
        parser, "--export", "folder", default=Path("models/tabletop/segmenter/onnx"),
        help="exported segmenter that gets the graph (default: %(default)s)",
    )  # fmt: skip


def run(settings: argparse.Namespace) -> int | None:
    status: int | None = settings.action(settings)
    return status


def _train(settings: argparse.Namespace) -> int:
    from reasonseg_ros.training.segmenter.points.run import train_points

    return train_points(
        settings.scenes, settings.run_folder, settings.export, settings.model, settings.seed, settings.threads
    )


def _export(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.segmenter.points.run import export_points

    export_points(settings.run_folder, settings.export, settings.model)


def _evaluate(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.segmenter.points.evaluation import evaluate_everything

    first, count = settings.seeds
    evaluate_everything(settings.model, range(first, first + count), settings.size, settings.grid)

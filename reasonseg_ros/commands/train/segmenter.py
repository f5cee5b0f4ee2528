"""`reasonseg train segmenter`: train, export and measure the embedded segmenter, or with `--video` its memory."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import SeedRange, seed, size_wh, whole_number
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.outputs import add_output

TRACKER_MODES = ("memory", "reprompt")


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "segmenter",
        help="train the embedded segmenter, or its memory",
        description="Train the embedded segmenter. With --video before the verb: its memory, on videos.",
    )
    parser.add_argument("--video", action="store_true", dest="memory", help="the verb is about the memory")
    kinds = parser.add_subparsers(title="verbs", metavar="VERB", required=True, prog=f"{parser.prog} [--video]")

    train = kinds.add_parser("train", help="train, or continue a run; writes the model at the end")
    images, memory = _groups(train)
    images.add_argument("--data", type=Path, nargs="+", help="folders of rendered chunks, used in turn")
    memory.add_argument("--videos", type=Path, help="folder of rendered videos")
    memory.add_argument("--scenes", type=Path, help="folder of rendered scenes")
    _add_image(memory)
    add_output(
        train, "--run", "folder", required=True, dest="run_folder", metavar="DIR", help="folder of the run's checkpoint"
    )
    add_output(train, "--out", "folder", required=True, help="folder for the finished model")
    train.add_argument("--seed", type=seed, default=0)
    train.add_argument("--device", default="auto")
    train.add_argument("--threads", type=whole_number(1), default=1, help="CPU threads")
    train.set_defaults(action=_train)

    export = kinds.add_parser("export", help="write the model of an unfinished run")
    _add_image(_groups(export)[1])
    export.add_argument(
        "--run", type=Path, required=True, dest="run_folder", metavar="DIR", help="folder of the run's checkpoint"
    )
    add_output(export, "--out", "folder", required=True, help="folder for the model")
    export.set_defaults(action=_export)

    evaluate = kinds.add_parser("evaluate", help="IoU on rendered scenes as the node computes masks; J&F on videos")
    evaluate.add_argument("--model", required=True, help="model card, folder or hub id")
    add_output(evaluate, "--pictures", "folder", help="folder for images with the masks drawn on them")
    images, memory = _groups(evaluate)
    images.add_argument("--seeds", action=SeedRange, help="scenes to render")
    images.add_argument("--size", type=size_wh, metavar="WxH", help="pixels (default: 640x480)")
    memory.add_argument("--videos", type=Path, help="folder of rendered videos")
    memory.add_argument("--modes", nargs="+", choices=TRACKER_MODES, help="tracker modes (default: both)")
    memory.add_argument("--limit", type=whole_number(1), metavar="N", help="only the first N videos")
    memory.add_argument(
        "--targets", type=whole_number(1), metavar="N", help="N targets per video, moved or hidden ones first"
    )
    memory.add_argument("--returning", action="store_true", help="only hidden targets, in videos that also run back")
    memory.add_argument("--threads", type=whole_number(1), help="CPU threads (default: 1)")
    evaluate.set_defaults(action=_evaluate)

    parser.set_defaults(action=run)


def _groups(parser: argparse.ArgumentParser) -> tuple[Any, Any]:
    """Groups of options: those of the image segmenter only, and those of its memory only."""
    return parser.add_argument_group("without --video"), parser.add_argument_group("with --video before the verb")


def _add_image(group: Any) -> None:
    group.add_argument("--image", type=Path, help="folder of the trained image segmenter")


def run(settings: argparse.Namespace) -> int | None:
    status: int | None = settings.action(settings)
    return status


def _train(settings: argparse.Namespace) -> int:
    _check(settings, images=("data",), memory=("videos", "scenes", "image"))
    if settings.memory:
        from reasonseg_ros.training.segmenter.memory.run import train_memory

        return train_memory(
            settings.videos, settings.scenes, settings.image, settings.run_folder, settings.out, settings.seed,
            settings.device, settings.threads,
        )  # fmt: skip
    from reasonseg_ros.training.segmenter.run import train_segmenter

    return train_segmenter(
        settings.data, settings.run_folder, settings.out, settings.seed, settings.device, settings.threads
    )


def _export(settings: argparse.Namespace) -> None:
    _check(settings, memory=("image",))
    if settings.memory:
        from reasonseg_ros.training.segmenter.memory.run import export_memory

        export_memory(settings.image, settings.run_folder, settings.out)
        return
    from reasonseg_ros.training.segmenter.run import export_run

    export_run(settings.run_folder, settings.out)


def _evaluate(settings: argparse.Namespace) -> None:
    optional = ("modes", "limit", "targets", "returning", "threads")
    _check(settings, images=("seeds",), memory=("videos",), optional_images=("size",), optional_memory=optional)
    if settings.memory:
        import torch

        from reasonseg_ros.training.segmenter.memory.evaluation import evaluate_memory

        torch.set_num_threads(settings.threads or 1)
        evaluate_memory(
            settings.model, settings.videos, settings.modes or TRACKER_MODES, settings.limit or 0,
            settings.targets or 0, settings.returning, settings.pictures,
        )  # fmt: skip
        return
    from reasonseg_ros.training.segmenter.evaluation import evaluate_segmenter

    first, count = settings.seeds
    evaluate_segmenter(settings.model, range(first, first + count), settings.size or (640, 480), settings.pictures)


def _check(
    settings: argparse.Namespace,
    images: tuple[str, ...] = (),
    memory: tuple[str, ...] = (),
    optional_images: tuple[str, ...] = (),
    optional_memory: tuple[str, ...] = (),
) -> None:
    """Raises InvalidInput if a required option is missing, or if an option has no effect in this mode.

    `images` and `memory` are required without and with `--video`; the `optional_` ones may be given there.
    """
    needed, foreign = (memory, images + optional_images) if settings.memory else (images, memory + optional_memory)
    mode = "with --video" if settings.memory else "without --video"
    if missing := [f"--{name}" for name in needed if not getattr(settings, name)]:
        raise InvalidInput(f"{', '.join(missing)} missing; train segmenter {mode} needs it")
    if unused := [f"--{name}" for name in foreign if name not in needed and getattr(settings, name)]:
        raise InvalidInput(f"{', '.join(unused)} given; train segmenter {mode} does not use it, leave it out")

"""`reasonseg export segmenter`: the command line of the export."""

from __future__ import annotations

import argparse
from typing import Any

from reasonseg_ros.commands.options import whole_number
from reasonseg_ros.engine.manifest import PRECISIONS
from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.outputs import add_output
from reasonseg_ros.reasoner.onnx.manifest import PRECISIONS as REASONER_PRECISIONS


def register(verbs: Any) -> None:
    export = verbs.add_parser("export", help="write a checkpoint as ONNX graphs that run without torch")
    kinds = export.add_subparsers(title="what", metavar="WHAT", required=True)
    segmenter = kinds.add_parser("segmenter", help="SAM2 (with its memory) and EdgeTAM")
    segmenter.add_argument("--model", required=True, help="model card, folder, hub id, or the sam2 package's .pt file")
    segmenter.add_argument(
        "--size",
        type=whole_number(0),
        default=0,
        metavar="PX",
        help="side of the square input, a multiple of 32; default: the checkpoint's",
    )
    segmenter.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="fp16 is for GPUs, int8 for CPUs (default: %(default)s)"
    )
    add_output(segmenter, "--out", "folder", required=True, metavar="DIR", help="a new folder")
    segmenter.set_defaults(action=_segmenter)

    reasoner = kinds.add_parser(
        "reasoner", help="Qwen2.5-VL",
        description="Write graphs that run the reasoner on ONNX Runtime alone, and compare their answers with "
        "the checkpoint. An fp32 export goes into the checkpoint's own folder and uses its weights; other precisions "
        "go into a new folder.",
    )  # fmt: skip
    reasoner.add_argument("--model", required=True, help="model card or folder")
    reasoner.add_argument(
        "--precision",
        choices=REASONER_PRECISIONS,
        default="fp32",
        help="precision of the weights (default: %(default)s)",
    )
    add_output(reasoner, "--out", "folder", metavar="DIR", help="a new folder, for int8 and int4")
    reasoner.set_defaults(action=_reasoner)

    export.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int | None:
    status: int | None = settings.action(settings)
    return status


def _reasoner(settings: argparse.Namespace) -> None:
    try:
        from reasonseg_ros.reasoner.export.run import export_reasoner
    except ImportError as error:
        raise ModelError(f"{error}; install it with `pip install 'reasonseg_ros[models,export,engine]'`") from error
    from rich.console import Console
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    console = Console(stderr=True)
    with console.status("starting") as status:
        manifest, folder = export_reasoner(
            settings.model, settings.out, precision=settings.precision,
            report=lambda step: status.update(f"{step} ..."),
        )  # fmt: skip
    for name in manifest.files:
        print(f"{folder / name}  {(folder / name).stat().st_size / 1e6:.2f} MB")
    for name, value in manifest.checks.items():
        print(f"{name.replace('_', ' ')}: {value}")


def _segmenter(settings: argparse.Namespace) -> None:
    try:
        from reasonseg_ros.export.segmenter import export_segmenter
    except ImportError as error:
        raise ModelError(f"{error}; install it with `pip install 'reasonseg_ros[export,engine]'`") from error
    from rich.console import Console
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # it would overwrite the status line
    console = Console(stderr=True)
    with console.status("starting") as status:
        manifest = export_segmenter(
            settings.model,
            settings.out,
            size_px=settings.size,
            precision=settings.precision,
            report=lambda step: status.update(f"{step} ..."),
        )
    sizes_mb = {name: (settings.out / graph.file).stat().st_size / 1e6 for name, graph in manifest.graphs.items()}
    for name, size_mb in sizes_mb.items():
        print(f"{settings.out / manifest.graphs[name].file}  {size_mb:.1f} MB")
    for name, value in manifest.checks.items():
        print(f"{name.replace('_', ' ')}: {value:.5f}")

"""Exports a checkpoint to a folder of graphs: written to a temporary folder, checked, then moved into place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from reasonseg_ros.engine.manifest import PRECISIONS, Graph, Manifest, write_manifest
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.export import graphs
from reasonseg_ros.export.check import check_export
from reasonseg_ros.export.int8 import QUANTISED, quantize
from reasonseg_ros.export.sources import Checkpoint, load_source
from reasonseg_ros.files.card_writer import write_card

LIBRARIES = ("onnx", "onnxscript", "onnxruntime", "torch", "transformers")


def export_segmenter(
    source: str,
    out: Path,
    *,
    size_px: int = 0,
    precision: str = "fp32",
    report: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Export a checkpoint (`sources.load_source`) into the new or empty folder `out`.

    `report` is called with the current step.

    Raises InvalidInput for a size, precision or folder that cannot be used; ModelError if the checkpoint cannot be
    read, or if the graphs do not give its masks. Then no files are left behind.
    """
    if precision not in PRECISIONS:
        raise InvalidInput(f"precision {precision!r}; expected one of {', '.join(PRECISIONS)}")
    _check_folder(out)
    report("loading the checkpoint")
    checkpoint = load_source(source, size_px)
    with _beside(out) as folder:
        manifest = _manifest(checkpoint, precision, _write_graphs(checkpoint, precision, folder, report))
        report("comparing masks with the checkpoint's")
        manifest = replace(manifest, checks=check_export(folder, manifest, checkpoint))
        write_manifest(manifest, folder)
        write_card(checkpoint.card, folder)
    return manifest


def _write_graphs(
    checkpoint: Checkpoint, precision: str, folder: Path, report: Callable[[str], None]
) -> dict[str, Graph]:
    model, size_px = checkpoint.model, checkpoint.size_px
    dtype = torch.float16 if precision == "fp16" else torch.float32
    writers: dict[str, Callable[[Path], Graph]] = {
        "encoder": lambda path: graphs.write_encoder(model, size_px, dtype, path),
        "decoder": lambda path: graphs.write_decoder(model, size_px, checkpoint.card.multimask, dtype, path),
    }
    if checkpoint.has_memory:
        writers["memory_attention"] = lambda path: graphs.write_memory_attention(model, size_px, dtype, path)
        writers["memory_encoder"] = lambda path: graphs.write_memory_encoder(model, size_px, dtype, path)
    written = {}
    for name, write in writers.items():
        report(f"writing the {name.replace('_', ' ')}")
        path = folder / f"{name}.onnx"
        written[name] = write(path)
        if precision == "int8" and name in QUANTISED:
            quantize(path)
            written[name] = graphs.describe(path)
    return written


def _manifest(checkpoint: Checkpoint, precision: str, written: dict[str, Graph]) -> Manifest:
    return Manifest(
        name=checkpoint.card.name,
        source=checkpoint.source,
        weights_sha256=checkpoint.weights_sha256,
        architecture=checkpoint.architecture,
        size_px=checkpoint.size_px,
        channels=checkpoint.model.hidden_dim,
        precision=precision,
        multimask=checkpoint.card.multimask,
        opset=graphs.OPSET,
        graphs=written,
        memory=graphs.memory_sizes(checkpoint.model) if checkpoint.has_memory else None,
        libraries={name: version(name) for name in LIBRARIES},
    )


def _check_folder(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InvalidInput(f"{out} is not an empty folder; give a new one, or remove it first")
    there = next(folder for folder in out.absolute().parents if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):  # loading and writing take minutes
        raise InvalidInput(f"{out} cannot be written, as {there} is read-only; give another folder")


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` on success and is removed on failure.

    Raises InvalidInput if it cannot be written: no permission, no space, or filled by another export meanwhile.
    """
    out, folder = out.absolute(), None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        yield folder
        folder.chmod(0o755)
        os.replace(folder, out)  # also over an empty folder
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error}; nothing was kept, give another folder") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

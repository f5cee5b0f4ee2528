"""Exports a Qwen2.5-VL checkpoint to graphs that run without torch: written beside, checked, then moved into place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.engine.manifest import file_sha256
from reasonseg_ros.engine.onnxruntime import fold_constants
from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.files.card_writer import write_card
from reasonseg_ros.hub_cache import INDEX
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.reasoner.export.check import check_reasoner_export
from reasonseg_ros.reasoner.export.graphs import attention_layers, text_graph, vision_graph
from reasonseg_ros.reasoner.export.stored_weights import stored_weights
from reasonseg_ros.reasoner.export.weights import embed_weights, quantize_weights
from reasonseg_ros.reasoner.local.decoding import unsuited
from reasonseg_ros.reasoner.local.reasoner import LocalReasoner
from reasonseg_ros.reasoner.onnx.manifest import (
    FILE_NAME,
    PRECISIONS,
    TEMPLATE,
    TEXT,
    TOKENIZER,
    VISION,
    ReasonerManifest,
    TextShape,
    VisionShape,
    write_reasoner_manifest,
)
from reasonseg_ros.reasoner.onnx.reasoner import OnnxReasoner

LIBRARIES = ("onnx", "onnxruntime", "torch", "transformers")


def export_reasoner(
    source: str, out: Path | None = None, *, precision: str = "fp32", report: Callable[[str], None] = lambda _: None
) -> tuple[ReasonerManifest, Path]:
    """Export the checkpoint of a card or folder. Returns the manifest, and the folder that it is in.

    An fp32 export is written into the checkpoint's own folder, whose weights its graphs use; other precisions into the
    new folder `out`. `report` is called with the current step.

    Raises InvalidInput for a precision or folder that cannot be used; ModelError if the checkpoint cannot be read or
    exported, or if the graphs answer differently. Then no files are left behind.
    """
    card = load_card(source, "reasoner")
    target = _target(card, out, precision)
    report("loading the checkpoint")
    original = LocalReasoner(card, ReasonerConfig(device="cpu", dtype="float32", kept_frames=0))
    if reason := unsuited(original.model) or _unsuited_here(original.model.config):
        raise ModelError(f"reasoner {card.name} cannot be exported: {reason}; use reasoner.backend local")
    checkpoint = Path(card.source)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as name:
        folder = Path(name)
        _take_weights(checkpoint, folder, os.link if precision == "fp32" else shutil.copyfile)
        report("writing the graphs")
        config, weights = original.model.config, stored_weights(checkpoint)
        for file, write in ((VISION, vision_graph), (TEXT, text_graph)):
            write(folder / file, config, weights)
            if precision != "fp32":
                fold_constants(folder / file)
        if precision != "fp32":
            report(f"quantizing the weights to {precision}")
            embed_weights(folder / VISION)
            quantize_weights(folder / TEXT, precision)
            _remove_weights(folder)
        shutil.copyfile(checkpoint / TOKENIZER, folder / TOKENIZER)
        (folder / TEMPLATE).write_text(original.processor.chat_template, encoding="utf-8")
        manifest = _manifest(original, precision, folder)
        write_reasoner_manifest(manifest, folder)
        report("comparing texts with the checkpoint's")
        exported = OnnxReasoner(replace(card, source=str(folder)), ReasonerConfig(kept_frames=0))
        manifest = replace(manifest, checks=check_reasoner_export(original, exported, precision))
        write_reasoner_manifest(manifest, folder)
        if precision == "fp32":
            for file in (VISION, TEXT, TEMPLATE, FILE_NAME):  # the description last: without it there is no export
                os.replace(folder / file, target / file)
        else:
            write_card(card, folder)
            folder.chmod(0o755)
            os.replace(folder, target)  # whole or not at all, also over an empty folder
    return manifest, target


def _target(card: ModelCard, out: Path | None, precision: str) -> Path:
    if precision not in PRECISIONS:
        raise InvalidInput(f"precision {precision!r}; expected one of {', '.join(PRECISIONS)}")
    if not card.is_folder:
        raise InvalidInput(f"{card.name} is on the hub; download it and name its folder")
    if precision == "fp32":
        if out is not None:
            raise InvalidInput(
                "--out with precision fp32, which uses the weights of the checkpoint's folder; omit --out"
            )
        _refuse_links(Path(card.source))
        return Path(card.source)
    if out is None:
        raise InvalidInput(f"precision {precision} writes weights into a new folder; add --out")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{out} is not an empty folder; choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    return out


def _refuse_links(folder: Path) -> None:
    """ONNX Runtime refuses weights behind links that leave the graphs' folder, such as those of the hub's cache."""
    for path in sorted(folder.glob("*.safetensors")):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InvalidInput(
                f"{path} is a link to {path.resolve()}, and the graphs have to lie beside the weights; copy the "
                "checkpoint with its weights (`cp -rL`) and export the copy"
            )


def _unsuited_here(config: Any) -> str:
    """Why the graphs do not fit a checkpoint that `FastDecoder` decodes."""
    if config.model_type != "qwen2_5_vl":
        return f"it is a {config.model_type}, and the graphs are Qwen2.5-VL's"
    text, vision = config.text_config, config.vision_config
    if {text.hidden_act, vision.hidden_act} != {"silu"}:
        return f"its activations are {text.hidden_act} and {vision.hidden_act}"
    if len(text.rope_parameters["mrope_section"]) % 3:
        return f"its rotary sections are {text.rope_parameters['mrope_section']}"
    if vision.temporal_patch_size != 2 or vision.in_channels != 3:
        return "its patches are not of two frames of three channels"
    if vision.patch_size * vision.spatial_merge_size != 28:
        return f"its tokens are of {vision.patch_size * vision.spatial_merge_size} pixels; expected 28"
    return ""


def _take_weights(checkpoint: Path, folder: Path, take: Callable[[Path, Path], Any]) -> None:
    """Put the weights under the names that the graphs use.

    Hard links cost no space and serve fp32. The onnx library, which writes the other precisions, refuses them.
    """
    for path in (*checkpoint.glob("*.safetensors"), checkpoint / INDEX):
        if path.is_file():
            try:
                take(path.resolve(), folder / path.name)
            except OSError:  # no links on this file system
                shutil.copyfile(path, folder / path.name)


def _remove_weights(folder: Path) -> None:
    for path in (*folder.glob("*.safetensors"), folder / INDEX):
        path.unlink(missing_ok=True)


def _manifest(original: LocalReasoner, precision: str, folder: Path) -> ReasonerManifest:
    config, processor = original.model.config, original.processor.image_processor
    text, vision = config.text_config, config.vision_config
    size = text.hidden_size // text.num_attention_heads
    has_windows = set(range(vision.depth)) - set(vision.fullatt_block_indexes)
    named = [VISION, TEXT, TOKENIZER, TEMPLATE, *(path.name for path in sorted(folder.glob("*.safetensors")))]
    return ReasonerManifest(
        name=original.name,
        precision=precision,
        text=TextShape(
            text.num_hidden_layers, text.num_key_value_heads, size, text.hidden_size, text.vocab_size,
            float(text.rope_parameters["rope_theta"]), tuple(text.rope_parameters["mrope_section"]),
            text.max_position_embeddings,
        ),
        vision=VisionShape(
            vision.hidden_size // vision.num_heads, vision.patch_size, vision.spatial_merge_size,
            vision.window_size if has_windows else 0, tuple(processor.image_mean), tuple(processor.image_std),
        ),
        files={name: file_sha256(folder / name) for name in named},
        image_token=config.image_token_id,
        end_tokens=tuple(original.model.generation_config.eos_token_id),
        repetition_penalty=float(original.model.generation_config.repetition_penalty or 1.0),
        min_pixels=int(processor.size["shortest_edge"]),
        max_pixels=int(processor.size["longest_edge"]),
        attention_layers=attention_layers(config),
        libraries={name: version(name) for name in LIBRARIES},
    )  # fmt: skip

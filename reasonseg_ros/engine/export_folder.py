"""Where a model card's exported graphs lie: in the folder it names, or in `onnx/` beside the checkpoint."""

from __future__ import annotations

from pathlib import Path

from reasonseg_ros.engine.manifest import FILE_NAME, file_sha256, read_manifest
from reasonseg_ros.model_card import ModelCard

BESIDE = "onnx"
WEIGHTS = "model.safetensors"


def export_folder(card: ModelCard) -> Path | None:
    """The folder with the manifest; None for a checkpoint that was not exported."""
    if not card.is_folder:
        return None
    folder = Path(card.source)
    return next((path for path in (folder, folder / BESIDE) if (path / FILE_NAME).is_file()), None)


def difference(folder: Path, card: ModelCard) -> str:
    """What the export is not, and the card's checkpoint is; empty where they agree. Raises ModelError where damaged."""
    manifest = read_manifest(folder)
    weights = Path(card.source) / WEIGHTS
    if weights.is_file() and manifest.weights_sha256 != file_sha256(weights):
        return f"was made from other weights than {weights}"
    if card.image_size not in (0, manifest.size_px):
        return f"takes images of {manifest.size_px} px, and the card {card.name} says {card.image_size}"
    if card.multimask != manifest.multimask:
        return f"has multimask {manifest.multimask}, and the card {card.name} says {card.multimask}"
    return ""

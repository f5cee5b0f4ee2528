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


def is_of_weights(folder: Path, checkpoint: Path) -> bool:
    """Whether the export was made from the weights that lie in `checkpoint` now. Raises ModelError where damaged."""
    weights = checkpoint / WEIGHTS
    return not weights.is_file() or read_manifest(folder).weights_sha256 == file_sha256(weights)

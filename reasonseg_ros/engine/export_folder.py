"""Finds a model card's exported graphs: in the card's folder, or in `onnx/` inside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from reasonseg_ros.engine.manifest import FILE_NAME, file_sha256, read_manifest
from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.documents import UnreadableDocument, read_json_document
from reasonseg_ros.hub_cache import INDEX, WEIGHTS
from reasonseg_ros.model_card import ModelCard

BESIDE = "onnx"


def export_folder(card: ModelCard) -> Path | None:
    """The folder with the manifest; None for a checkpoint that was not exported."""
    if not card.is_folder:
        return None
    folder = Path(card.source)
    return next((path for path in (folder, folder / BESIDE) if (path / FILE_NAME).is_file()), None)


def weights_sha256(folder: Path) -> str:
    """Digest of a checkpoint's weights: of its file, or of the names and digests of its shards; empty without weights.

    Raises ModelError if a shard that the index names is missing.
    """
    if (folder / WEIGHTS).is_file():  # transformers reads this file first, too
        return file_sha256(folder / WEIGHTS)
    index = folder / INDEX
    if not index.is_file():
        return ""
    try:
        names = sorted(set(read_json_document(index)["weight_map"].values()))
        shards = [(name, file_sha256(folder / Path(name).name)) for name in names]
    except (UnreadableDocument, OSError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} and its shards cannot be read: {error}; download the checkpoint again") from error
    return hashlib.sha256(json.dumps(shards).encode()).hexdigest()


def export_mismatch(folder: Path, card: ModelCard) -> str:
    """How the export differs from the card's checkpoint; empty if they agree. Raises ModelError if damaged."""
    manifest = read_manifest(folder)
    digest = weights_sha256(Path(card.source))
    if digest and manifest.weights_sha256 != digest:
        return f"was made from other weights than those in {card.source}"
    if card.image_size not in (0, manifest.size_px):
        return f"takes images of {manifest.size_px} px, and the card {card.name} says {card.image_size}"
    if card.multimask != manifest.multimask:
        return f"has multimask {manifest.multimask}, and the card {card.name} says {card.multimask}"
    return ""

"""Digests of the models that a selection belongs to."""

from __future__ import annotations

from pathlib import Path

from reasonseg_ros.engine.export_folder import export_folder, weights_sha256
from reasonseg_ros.engine.manifest import POINTS, read_manifest
from reasonseg_ros.errors import ModelError
from reasonseg_ros.model_card import load_card


def model_digests(reasoner: str, segmenter: str) -> dict[str, str]:
    """`reasoner_sha256`, `segmenter_sha256` and `points_sha256` of two models, as in `card.SelectionCard`.

    Raises ModelError for a reasoner that is not a local folder, and for a segmenter without an export.
    """
    thinks = load_card(reasoner, "reasoner")
    folder = export_folder(load_card(segmenter, "segmenter"))
    reasoner_sha256 = weights_sha256(Path(thinks.source)) if thinks.is_folder else ""
    if not reasoner_sha256:
        raise ModelError(f"the weights of {reasoner} are not in a folder here; a selection belongs to certain weights")
    if folder is None:
        raise ModelError(f"{segmenter} has no exported graphs; make them with `reasonseg export segmenter`")
    manifest = read_manifest(folder)
    points = manifest.graphs.get(POINTS)
    return {
        "reasoner_sha256": reasoner_sha256,
        "segmenter_sha256": manifest.weights_sha256,
        "points_sha256": points.sha256 if points else "",
    }

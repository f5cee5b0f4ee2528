"""ReasonSeg-SGDR: reasoning questions of four kinds.

Its authors have published it, but its file layout was not available here. This module assumes the layout of ReasonSeg,
whose family it belongs to, with one more key in each JSON file: `kind`, one of KINDS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.reasonseg import annotated_items
from reasonseg_ros.evaluation.datasets.records import Item

KINDS = ("discriminative", "spatial", "geometric", "multi_step")


def sgdr_items(folder: Path, split: str, all_texts: bool = False) -> list[Item]:
    """The samples of one split in the order of their names. Raises InvalidInput if the split is not there."""
    return annotated_items(folder, split, all_texts, _kind)


def _kind(annotation: dict[str, Any]) -> str:
    written = annotation.get("kind")
    kind = str(written).strip().lower().replace("-", "_").replace(" ", "_")
    if kind not in KINDS:
        raise InvalidInput(f"its kind is {written!r}; expected one of {', '.join(KINDS)}")
    return kind

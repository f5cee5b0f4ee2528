"""The folder of a trained selection: `selection.onnx`, and `selection.json` with the models it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from reasonseg_ros.engine.manifest import file_sha256
from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.files.documents import UnreadableDocument, read_json_document
from reasonseg_ros.files.strict_json import json_text
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.selection.choosing import SelectionRule

FILE_NAME, GRAPH = "selection.json", "selection.onnx"
REMEDY = "train one with `reasonseg train selection`"
_VERSION = 2


@dataclass(frozen=True)
class SelectionCard:
    """The models and settings that a selection was trained with. It refuses others, because their features differ.

    Attributes:
        graph_sha256: digest of `selection.onnx`.
        reasoner_sha256, segmenter_sha256: digests of the weights (`engine.export_folder.weights_sha256`).
        points_sha256: digest of the segmenter's graph for points; empty if it needs none.
        grid_wh: points across and down in everything mode. Other grids give other masks.
        mask_features: length of a mask's vector.
        state_width: width of the reasoner's hidden states.
        rule: the rule that was chosen on validation questions.
        source: a description of the training data, for readers.
    """

    graph_sha256: str
    reasoner_sha256: str
    segmenter_sha256: str
    points_sha256: str
    grid_wh: tuple[int, int]
    mask_features: int
    state_width: int
    rule: SelectionRule
    source: str = ""

    def check_models(self, reasoner_sha256: str, segmenter_sha256: str, points_sha256: str) -> None:
        """Raises ModelError if a digest differs from that of the training."""
        given = {"reasoner": reasoner_sha256, "segmenter": segmenter_sha256, "points": points_sha256}
        names = {"reasoner": "the reasoner", "segmenter": "the segmenter", "points": "the segmenter's graph for points"}
        for part, digest in given.items():
            if digest != getattr(self, f"{part}_sha256"):
                raise ModelError(f"the selection was trained with other weights of {names[part]}; {REMEDY}, or use the "
                                 "models that it belongs to")  # fmt: skip


def write_selection_card(card: SelectionCard, folder: Path) -> None:
    with whole_file(folder / FILE_NAME) as file:
        file.write(json_text({"version": _VERSION, **asdict(card)}, indent=2) + "\n")


def read_selection_card(folder: Path) -> SelectionCard:
    """The card in a folder. Raises ModelError if there is no valid one, or its graph has another digest."""
    path = Path(folder) / FILE_NAME
    try:
        card = _from_json(read_json_document(path))
    except (UnreadableDocument, InvalidInput, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is no card of a selection ({error}); {REMEDY}") from error
    graph = path.with_name(GRAPH)
    if not graph.is_file() or file_sha256(graph) != card.graph_sha256:
        raise ModelError(f"{graph} is missing, or not the one that {FILE_NAME} describes; {REMEDY}")
    return card


def _from_json(values: Any) -> SelectionCard:
    if not isinstance(values, Mapping) or values.get("version") != _VERSION:
        raise ValueError(f"expected version {_VERSION}")
    known = {item.name: values[item.name] for item in fields(SelectionCard)}
    rule = SelectionRule(**known.pop("rule"))
    across, down = known.pop("grid_wh")
    if type(across) is not int or type(down) is not int or min(across, down) < 1:
        raise ValueError(f"grid_wh = {[across, down]!r:.80}")
    for name, value in known.items():
        kind = int if name in ("mask_features", "state_width") else str
        if type(value) is not kind or value == 0:
            raise ValueError(f"{name} = {value!r:.80}")
    return SelectionCard(rule=rule, grid_wh=(across, down), **known)

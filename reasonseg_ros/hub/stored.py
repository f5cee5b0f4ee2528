"""Which files of a model card's checkpoint are on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reasonseg_ros.engine.export_folder import export_folder
from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.model_formats import other_format
from reasonseg_ros.hub.weight_files import parameter_count
from reasonseg_ros.hub_cache import cached_snapshot, weight_files
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.weights import check_weight_files


@dataclass(frozen=True)
class Stored:
    """A checkpoint on this machine.

    Attributes:
        folder: of the checkpoint, or of its snapshot in the hub's cache; None if there is none.
        size_bytes: of all its files.
        missing: names of missing files.
        parameters: number in the weights; without weights, the card's number; 0 if unknown.
        error: why the files cannot be used.
    """

    folder: Path | None
    size_bytes: int = 0
    missing: tuple[str, ...] = ()
    parameters: int = 0
    error: str = ""

    @property
    def is_usable(self) -> bool:
        return self.folder is not None and not self.missing and not self.error


def stored(card: ModelCard) -> Stored:
    """Look for the card's checkpoint. Does not fetch files or load a model."""
    stated = round(card.parameters_m * 1e6)
    folder = Path(card.source) if card.is_folder else cached_snapshot(card)
    if folder is None or not folder.is_dir():
        return Stored(None, parameters=stated)
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if export_folder(card) == folder:  # graphs alone
        return Stored(folder, size_bytes, parameters=stated)
    if stated_format := other_format(folder):
        return Stored(folder, size_bytes, parameters=stated, error=stated_format)
    try:
        missing = [path.name for path in [folder / "config.json", *weight_files(folder)] if not path.is_file()]
        parameters = stated if missing else parameter_count(folder)
        if not missing:
            check_weight_files(folder)
    except ModelError as error:
        return Stored(folder, size_bytes, parameters=stated, error=str(error))
    return Stored(folder, size_bytes, tuple(missing), parameters)

"""Checkpoints in the Hugging Face hub's cache on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.documents import UnreadableDocument, read_json_document
from reasonseg_ros.hub_errors import readable_errors
from reasonseg_ros.model_card import ModelCard

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PROCESSOR = (("tokenizer.json", "vocab.json"), ("processor_config.json", "preprocessor_config.json"))
"""Of each group one file is needed to load a reasoner, beside its weights."""
ANSWER_S = 10.0
"""Time for the hub's answer."""


def loads_locally(card: ModelCard, offline: bool, needed: Sequence[Sequence[str]] = ()) -> bool:
    """Whether to load a checkpoint without the hub: the settings say so, it is a folder, or the cache holds all of it.

    Else the hub's client asks for each file anew, which takes minutes without a network. So the hub is asked once
    before: if it does not answer, files of the cache are used as far as they go. `needed`: groups of names, of each of
    which one file must be there.

    Raises ModelError if the cache holds nothing and the hub does not answer, or does not have the checkpoint.
    """
    if offline or card.is_folder or Path(card.source).is_dir():
        return True
    folder = cached_snapshot(card)
    if folder is not None and _is_whole(folder, needed):
        return True
    try:
        ask_hub(card)
    except ModelError:
        if folder is None:
            raise
        return True
    return False


def ask_hub(card: ModelCard) -> None:
    """One request for the card's revision, without retries. Raises ModelError with the reason if that fails."""
    try:
        from huggingface_hub import HfApi
    except ImportError:  # whoever loads the checkpoint says what to install
        return
    with readable_errors(card):
        HfApi().model_info(card.source, revision=card.revision, timeout=ANSWER_S)


def _is_whole(folder: Path, needed: Sequence[Sequence[str]]) -> bool:
    try:
        files = [folder / "config.json", *weight_files(folder)]
    except ModelError:
        return False
    return all(path.is_file() for path in files) and all(
        any((folder / name).is_file() for name in group) for group in needed
    )


def cached_snapshot(card: ModelCard) -> Path | None:
    """The card's revision in the hub's cache; None if there is none, or if huggingface_hub is not installed."""
    return snapshot(card.source, card.revision)


def snapshot(source: str, revision: str | None) -> Path | None:
    """As `cached_snapshot`, for a hub id."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(source, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers would read: the one file, or the shards of the index. They may be missing.

    Raises ModelError if the index cannot be read.
    """
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    return index_files(folder) or [folder / WEIGHTS]


def index_files(folder: Path) -> list[Path]:
    """The shards that the index names; none without an index. Raises ModelError if it cannot be read."""
    index = folder / INDEX
    if not index.exists():
        return []
    try:
        names = {str(name) for name in read_json_document(index)["weight_map"].values()}
    except (UnreadableDocument, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} cannot be read: {error}; fetch the checkpoint again") from error
    return [folder / Path(name).name for name in sorted(names)]

"""Fetches a card's checkpoint from the Hugging Face hub, and compares its files with the hub's checksums."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import ModelError
from reasonseg_ros.hub_cache import cached_snapshot
from reasonseg_ros.hub_errors import readable_errors
from reasonseg_ros.model_card import ModelCard

PATTERNS = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model", "LICENSE*", "*.md")
"""Files of a transformers checkpoint, with its licence. Other formats of the same weights are left out."""


@dataclass(frozen=True)
class FetchPlan:
    """What a fetch would transfer.

    Attributes:
        commit: the commit of the revision on the hub.
        files: sizes in bytes of all needed files, by name.
        missing_bytes: size of the files that are not on this machine yet.
        free_bytes: free space of the hub's cache.
    """

    commit: str
    files: dict[str, int]
    missing_bytes: int
    free_bytes: int


def plan(card: ModelCard) -> FetchPlan:
    """Ask the hub for the checkpoint's files.

    Raises ModelError if there is no such model, it is gated, or the network or disk space is missing.
    """
    _need_hub_card(card)
    api = _api()
    with readable_errors(card):
        info = api.model_info(card.source, revision=card.revision, files_metadata=True)
    files = {file.rfilename: int(file.size or 0) for file in info.siblings or () if _is_wanted(file.rfilename)}
    if not any(name.endswith(".safetensors") for name in files):
        raise ModelError(f"{card.source} has no *.safetensors on the hub; other formats are never loaded")
    kept = cached_snapshot(card)
    missing = [size for name, size in files.items() if kept is None or not (kept / name).exists()]
    found = FetchPlan(str(info.sha), files, sum(missing), _free_bytes())
    if found.missing_bytes > found.free_bytes:
        raise ModelError(
            f"{card.source} needs {found.missing_bytes / 1e9:.1f} GB more and {_cache()} has "
            f"{found.free_bytes / 1e9:.1f} GB free; free space there, or set HF_HUB_CACHE to another folder"
        )
    return found


def fetch(card: ModelCard, planned: FetchPlan) -> Path:
    """Fetch what is missing, with progress on stderr, and compare every file with the hub's checksum.

    Returns the snapshot's folder. A lost connection resumes within a file. An interrupted fetch continues with the
    incomplete files. A file whose checksum differs is removed, so that the next fetch transfers it again. Raises
    ModelError.
    """
    from huggingface_hub import snapshot_download

    with readable_errors(card):
        folder = Path(snapshot_download(card.source, revision=card.revision, allow_patterns=list(PATTERNS)))
        if folder.name != planned.commit:
            raise ModelError(f"{card.source} {card.revision} changed on the hub meanwhile; fetch it again")
        result = _api().verify_repo_checksums(card.source, revision=planned.commit)
    wrong = [str(mismatch["path"]) for mismatch in result.mismatches]
    for name in wrong:
        _remove(folder / name)
    absent = [name for name in planned.files if name not in wrong and not (folder / name).exists()]
    if wrong or absent:
        stated = ", ".join(
            [*(f"the checksum of {name} is wrong" for name in wrong), *(f"{n} is absent" for n in absent)]
        )
        raise ModelError(f"{card.source}: {stated}; fetch it again")
    return folder


def _remove(path: Path) -> None:
    """Remove a file of the cache: the link and the blob that it points to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _is_wanted(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in PATTERNS)


def _need_hub_card(card: ModelCard) -> None:
    if card.is_folder:
        raise ModelError(f"{card.name} is the folder {card.source} and not on the hub; there is nothing to fetch")


def _api() -> Any:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ModelError(f"{error}; install it with `pip install 'reasonseg_ros[models]'`") from error
    return HfApi()


def _cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _free_bytes() -> int:
    folder = _cache()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free

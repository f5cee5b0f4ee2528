"""Cache of built engines in the user's cache folder, keyed by a digest of everything they depend on.

An engine is two files: `NAME.engine`, and its description `NAME.json`, which is written last. Building takes a lock, so
two nodes that start together build once. Reading needs no lock, because files are replaced atomically. Only the user
may write to the folder, and symbolic links in it are refused (`engine.files`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from reasonseg_ros.engine.files import private_folder, read_private, replace_file
from reasonseg_ros.engine.manifest import EXPORT_VERSION

LIMIT_GIB = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """Everything that an engine depends on.

    Attributes:
        onnx_sha256: digest of the graph's file.
        flavour, version: kind and version of TensorRT.
        capabilities: compute capabilities that it is built for.
        gpu: name of the GPU that it was built on and is tuned to; empty for TensorRT for RTX, which tunes at run time.
        cuda_major: major CUDA version of the library.
        machine: processor architecture of the library, `x86_64` or `aarch64`.
        sizes: minimum, typical and maximum of each free dimension.
        builder: further options of the builder.
    """

    onnx_sha256: str
    flavour: str
    version: str
    capabilities: tuple[str, ...]
    gpu: str
    cuda_major: str
    machine: str
    sizes: Mapping[str, tuple[int, int, int]]
    builder: Mapping[str, Any] = field(default_factory=dict)
    export_version: int = EXPORT_VERSION

    @property
    def digest(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class CachedEngine:
    """One cached engine. `check` holds the figures of the accuracy check; it is empty until a GPU has run it."""

    name: str
    path: Path
    key: EngineKey
    sha256: str
    size_bytes: int
    built: str
    build_s: float
    check: Mapping[str, float] = field(default_factory=dict)

    def read(self) -> bytes:
        """Raises OSError if the file is missing or not owned by this user."""
        return read_private(self.path)


class EngineCache:
    """The engines in `folder`, by default the user's cache folder (XDG_CACHE_HOME moves it)."""

    def __init__(self, folder: Path | None = None, limit_gib: float = LIMIT_GIB) -> None:
        self.folder = Path(folder) if folder else user_cache_path("reasonseg_ros") / "engines"
        self.limit_bytes = int(limit_gib * 2**30)

    @property
    def timing_cache(self) -> Path:
        return self.folder / "timing.cache"

    def entries(self) -> list[CachedEngine]:
        """All engines, the most recently used first. Unreadable descriptions are skipped and logged.

        Raises ConfigError if others can write to the folder.
        """
        if not os.path.lexists(self.folder):
            return []
        private_folder(self.folder)
        found = []
        for path in self.folder.glob("*.json"):
            if (entry := self._read(path)) is not None:
                found.append(entry)
        return sorted(found, key=_last_use_s, reverse=True)

    def find(self, key: EngineKey) -> CachedEngine | None:
        """The engine of this key; of TensorRT for RTX also one that was built for further capabilities.

        None if there is none, or if its file is damaged.
        """
        for entry in self.entries():
            same = replace(entry.key, capabilities=key.capabilities) == key
            if same and set(key.capabilities) <= set(entry.key.capabilities):
                try:
                    is_whole = hashlib.sha256(entry.read()).hexdigest() == entry.sha256
                except OSError:
                    is_whole = False
                if is_whole:
                    os.utime(entry.path)  # the time of the last use, for pruning
                    return entry
                _log.warning("%s is damaged and is built again", entry.path)
        return None

    def get_or_build(
        self,
        key: EngineKey,
        label: str,
        build: Callable[[], bytes],
        *,
        force: bool = False,
        waiting: Callable[[], None] | None = None,
    ) -> CachedEngine:
        """The engine of `key`, built if it is missing; `force` always builds it.

        If another process is building it, calls `waiting` once, waits, and returns that engine.
        """
        if not force and (entry := self.find(key)):
            return entry
        private_folder(self.folder)
        lock = FileLock(self.folder / f".{key.digest[:12]}.lock")
        waited = False
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waited = True
            if waiting is not None:
                waiting()
            lock.acquire()
        try:
            entry = self.find(key)
            if entry is not None and (waited or not force):
                return entry
            start = time.monotonic()
            content = build()
            entry = self._keep(key, label, content, time.monotonic() - start)
        finally:
            lock.release()
        self.prune(keep=entry.name)
        return entry

    def record_check(self, entry: CachedEngine, figures: Mapping[str, float]) -> CachedEngine:
        """Store the figures of the engine's accuracy check."""
        checked = replace(entry, check=dict(figures))
        self._write(checked)
        return checked

    def remove(self, entry: CachedEngine) -> None:
        """Delete an engine with its description and its runtime cache."""
        for path in (entry.path.with_suffix(".json"), entry.path, self.runtime_cache(entry)):
            path.unlink(missing_ok=True)

    def runtime_cache(self, entry: CachedEngine) -> Path:
        """The file in which TensorRT for RTX caches code that it compiled for this GPU."""
        return entry.path.with_suffix(".runtime")

    def prune(self, keep: str = "") -> list[CachedEngine]:
        """Delete the least recently used engines until the rest fit into the limit, except the one named `keep`."""
        removed, total = [], 0
        for entry in self.entries():
            total += entry.size_bytes
            if total > self.limit_bytes and entry.name != keep:
                self.remove(entry)
                removed.append(entry)
                total -= entry.size_bytes
        return removed

    def _keep(self, key: EngineKey, label: str, content: bytes, build_s: float) -> CachedEngine:
        name = f"{label}-{key.digest[:12]}"
        entry = CachedEngine(
            name=name,
            path=self.folder / f"{name}.engine",
            key=key,
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            built=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            build_s=round(build_s, 2),
        )
        replace_file(entry.path, content)
        self._write(entry)
        return entry

    def _write(self, entry: CachedEngine) -> None:
        values = {key: value for key, value in asdict(entry).items() if key not in ("name", "path")}
        replace_file(entry.path.with_suffix(".json"), (json.dumps(values, indent=2) + "\n").encode())

    def _read(self, path: Path) -> CachedEngine | None:
        try:
            values = json.loads(read_private(path))
            key = values.pop("key")
            key["capabilities"] = tuple(key["capabilities"])
            key["sizes"] = {name: tuple(sizes) for name, sizes in key["sizes"].items()}
            return CachedEngine(name=path.stem, path=path.with_suffix(".engine"), key=EngineKey(**key), **values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            _log.warning("%s cannot be read (%s); its engine is built again when it is needed", path, error)
            return None


def _last_use_s(entry: CachedEngine) -> float:
    try:
        return entry.path.stat().st_mtime
    except OSError:
        return 0.0

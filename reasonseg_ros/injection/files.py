"""Faults of files that are opened, written, synchronised or replaced, by patches of `open` and `os`."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reasonseg_ros.injection.fault import Injector

FILE_PORTS = ("open", "write", "fsync", "replace")


@contextmanager
def broken_files(injector: Injector, ports: Collection[str], folder: Path | None) -> Iterator[None]:
    """Count the calls of these `ports` on files that are written below `folder`, or on all written files without one.

    Calls of `fsync` and `replace` count for all files.
    """
    opened, fsync, replace = io.open, os.fsync, os.replace

    def open_file(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        is_counted = _is_written(path, mode, folder)
        if is_counted and "open" in ports:
            injector.reach("open")
        file = opened(path, mode, *arguments, **named)
        return BrokenFile(file, injector) if is_counted and "write" in ports else file

    io.open = builtins.open = open_file  # type: ignore[assignment]
    if "fsync" in ports:
        os.fsync = injector.wrap("fsync", fsync)
    if "replace" in ports:
        os.replace = injector.wrap("replace", replace)
    try:
        yield
    finally:
        io.open = builtins.open = opened
        os.fsync, os.replace = fsync, replace


def _is_written(path: Any, mode: str, folder: Path | None) -> bool:
    if not any(letter in mode for letter in "wax+"):
        return False
    if folder is None:
        return True
    if isinstance(path, int):
        path = os.readlink(f"/proc/self/fd/{path}")
    return isinstance(path, (str, os.PathLike)) and Path(os.fspath(path)).is_relative_to(folder)


class BrokenFile:
    """A file whose writes are counted. A failing write leaves half of its data, as on a full disk."""

    def __init__(self, file: Any, injector: Injector) -> None:
        self._file = file
        self._injector = injector

    def write(self, data: Any) -> Any:
        try:
            self._injector.reach("write")
        except Exception:
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            raise
        return self._file.write(data)

    def __enter__(self) -> BrokenFile:
        self._file.__enter__()
        return self

    def __exit__(self, *arguments: Any) -> Any:
        return self._file.__exit__(*arguments)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

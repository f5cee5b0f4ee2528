"""Writes MCAP bags with this package's messages."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from reasonseg_ros.bags.messages import typestore
from reasonseg_ros.errors import InvalidInput


class BagWriter:
    """Writes one bag folder, compressed with zstd. Use it in a `with` statement.

    The bag appears only when it is complete. After an error or Ctrl-C the previous content is still there.
    """

    def __init__(self, path: str | Path, force: bool = False) -> None:
        """Raises InvalidInput if `path` exists, unless `force` is set and it is a bag."""
        self.path = Path(path).absolute()
        if self.path.is_symlink():
            raise InvalidInput(f"{path} is a symbolic link; remove it, or choose another place")
        if self.path.exists() and not force:
            raise InvalidInput(f"{path} exists; choose another place or pass --force")
        if self.path.exists() and any(self.path.iterdir()) and not (self.path / "metadata.yaml").is_file():
            raise InvalidInput(f"{path} is not a bag; it is not replaced")
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> BagWriter:
        # The file inside is named after the folder, so the folder has its final name from the beginning.
        self._workplace = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        try:
            self._writer = Writer(self._workplace / self.path.name, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except BaseException:  # also a signal that ends the command: `__exit__` is not called
            shutil.rmtree(self._workplace, ignore_errors=True)
            raise
        self._connections: dict[str, Connection] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            if kind is None:
                if self.path.exists():
                    shutil.rmtree(self.path)
                os.replace(self._workplace / self.path.name, self.path)
        finally:
            shutil.rmtree(self._workplace, ignore_errors=True)

    def note(self, key: str, value: str) -> None:
        """Add a text to the `custom_data` of metadata.yaml."""
        self._writer.set_custom_data(key, value)

    def write(self, topic: str, message: Any, stamp_ns: int) -> None:
        """Write a message of `typestore()` with the log time `stamp_ns`."""
        kind = message.__msgtype__
        self.write_raw(topic, kind, bytes(typestore().serialize_cdr(message, kind)), stamp_ns)

    def write_raw(self, topic: str, kind: str, data: bytes, stamp_ns: int) -> None:
        """Write serialised bytes of message type `kind`, for example from a raw subscription."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=typestore())
        self._writer.write(self._connections[topic], stamp_ns, data)

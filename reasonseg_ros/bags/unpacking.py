"""Decompression with limits, so that a small file cannot fill memory or disk."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from reasonseg_ros.errors import InvalidInput

MOST_BYTES = 512 * 2**20
"""Largest chunk or message that is unpacked. Recorders write chunks of about a megabyte."""
MOST_GROWTH, LEAST_LIMIT_BYTES = 500, 2**30
"""A compressed file may grow by this factor, or to this size if that is larger."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PIECE_BYTES = 2**20


def unpacked(data: bytes, compression: str, says_bytes: int | None = None) -> bytes:
    """The bytes in `data`, compressed with `zstd`, `lz4` or (empty) not at all.

    `says_bytes` is the size that the file states, if any. Raises InvalidInput if the data are damaged, have another
    compression, or unpack to another size or to more than MOST_BYTES.
    """
    check_size(says_bytes or 0)
    if not compression:
        return data
    if compression not in ("zstd", "lz4"):
        raise InvalidInput(f"compression {compression!r} is not supported; expected zstd or lz4")
    if compression == "zstd":
        check_size(_stated_bytes(data))
    most = MOST_BYTES if says_bytes is None else says_bytes
    parts: list[bytes] = []
    size = 0
    while data:
        decompressor = zstd.ZstdDecompressor() if compression == "zstd" else lz4.frame.LZ4FrameDecompressor()
        try:
            part = decompressor.decompress(data, max_length=most + 1 - size)
        except (zstd.ZstdError, RuntimeError, EOFError, MemoryError) as error:
            raise InvalidInput(f"{compression} data are damaged: {error}") from error
        parts.append(part)
        size += len(part)
        check_size(size)
        if size > most:
            raise InvalidInput(f"it unpacks to more than the {says_bytes} bytes that it states")
        if not decompressor.eof:
            raise InvalidInput(f"{compression} data break off")
        data = decompressor.unused_data or b""
    if says_bytes is not None and size < says_bytes:
        raise InvalidInput(f"it unpacks to {size} of the {says_bytes} bytes that it states")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def unpacked_message(data: bytes) -> bytes:
    """A message that may be compressed with zstd. CDR begins with a zero, so zstd's magic bytes are unambiguous.

    Raises InvalidInput as `unpacked` does.
    """
    return unpacked(data, "zstd") if data[:4] == ZSTD_MAGIC else data


def check_size(size_bytes: int) -> None:
    """Raises InvalidInput for more than MOST_BYTES."""
    if size_bytes > MOST_BYTES:
        stated = (
            f"it takes {size_bytes / 1e6:.0f} MB or more in memory; at most {MOST_BYTES / 1e6:.0f} MB are read at once"
        )
        raise InvalidInput(stated)


def _stated_bytes(data: bytes) -> int:
    """The unpacked size that the first frame of zstd data states; 0 if it states none."""
    try:
        return zstd.get_frame_info(data).decompressed_size or 0
    except zstd.ZstdError:
        return 0  # unpacking reports the damage


def unpack_file(path: Path, folder: Path) -> tuple[Path, str]:
    """Unpack a zstd file into `folder`. Returns the unpacked file, and the reason if `path` is damaged or incomplete.

    Raises InvalidInput if it grows beyond the limit, or the disk has too little space.
    """
    target = folder / path.stem
    packed_bytes = path.stat().st_size
    most = max(LEAST_LIMIT_BYTES, MOST_GROWTH * packed_bytes)
    with path.open("rb") as packed:
        stated_bytes = _stated_bytes(packed.read(64))
    if stated_bytes > most:
        raise InvalidInput(_too_much(path, packed_bytes, most))
    if stated_bytes > (free := shutil.disk_usage(folder).free):
        raise InvalidInput(
            f"{path.name} unpacks to {stated_bytes / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {folder.parent}; "
            "set TMPDIR to a folder with more space"
        )
    size = 0
    with target.open("xb") as out:
        try:
            with zstd.open(path, "rb") as source:
                while piece := source.read(_PIECE_BYTES):
                    size += len(piece)
                    if size > most:
                        raise InvalidInput(_too_much(path, packed_bytes, most))
                    out.write(piece)
        except (zstd.ZstdError, EOFError) as error:
            return target, f"zstd data break off or are damaged after {size} bytes: {error}"
    return target, ""


def _too_much(path: Path, packed_bytes: int, most: int) -> str:
    stated = f"{path.name} of {packed_bytes / 1e6:.1f} MB unpacks to more than {most / 1e9:.1f} GB"
    return f"{stated}; unpack it by hand if that is right (zstd -d), with enough disk space"

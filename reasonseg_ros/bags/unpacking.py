"""Decompression with a limit: a small file must not fill memory or disk."""

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
"""A compressed file may grow by this factor, and always to this size."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PIECE_BYTES = 2**20


def unpacked(data: bytes, compression: str, says_bytes: int = 0) -> bytes:
    """The bytes in `data`, compressed with `zstd`, `lz4` or (empty) not at all.

    `says_bytes` is the size that the file states. Raises InvalidInput if it is damaged, of another compression, or
    unpacks to more than MOST_BYTES.
    """
    if says_bytes > MOST_BYTES:
        raise InvalidInput(_too_large(says_bytes))
    if not compression:
        return data
    if compression not in ("zstd", "lz4"):
        raise InvalidInput(f"compression {compression!r} is not supported; expected zstd or lz4")
    parts: list[bytes] = []
    size = 0
    while data:
        decompressor = zstd.ZstdDecompressor() if compression == "zstd" else lz4.frame.LZ4FrameDecompressor()
        try:
            part = decompressor.decompress(data, max_length=MOST_BYTES + 1 - size)
        except (zstd.ZstdError, RuntimeError, EOFError, MemoryError) as error:
            raise InvalidInput(f"{compression} data are damaged: {error}") from error
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise InvalidInput(_too_large(says_bytes or size))
        if not decompressor.eof:
            raise InvalidInput(f"{compression} data break off")
        data = decompressor.unused_data or b""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(size_bytes: int) -> str:
    return f"it unpacks to {size_bytes / 1e6:.0f} MB or more; at most {MOST_BYTES / 1e6:.0f} MB are unpacked at once"


def unpack_file(path: Path, folder: Path) -> tuple[Path, str]:
    """Unpack a zstd file into `folder`. Returns the file and, if `path` breaks off or is damaged, how.

    Raises InvalidInput if it grows beyond any recording, or fills the disk.
    """
    target = folder / path.stem
    packed_bytes = path.stat().st_size
    most = max(LEAST_LIMIT_BYTES, MOST_GROWTH * packed_bytes)
    most = min(most, shutil.disk_usage(folder).free - 2**28)
    size = 0
    with target.open("xb") as out:
        try:
            with zstd.open(path, "rb") as source:
                while piece := source.read(_PIECE_BYTES):
                    size += len(piece)
                    if size > most:
                        raise InvalidInput(
                            f"{path.name} of {packed_bytes / 1e6:.1f} MB unpacks to more than {most / 1e9:.1f} GB; "
                            "unpack it by hand if that is right (zstd -d), with enough disk space"
                        )
                    out.write(piece)
        except (zstd.ZstdError, EOFError) as error:
            return target, f"zstd data break off or are damaged after {size} bytes: {error}"
    return target, ""

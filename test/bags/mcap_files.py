"""Layouts of MCAP files, and where the records of a file lie."""

import struct

from mcap.writer import CompressionType, IndexType

CHUNK, MAGIC = 6, b"\x89MCAP0\r\n"

LAYOUTS = {
    "plain": {},
    "lz4": {"compression": CompressionType.LZ4},
    "not compressed": {"compression": CompressionType.NONE},
    "small chunks": {"chunk_size": 300},
    "no chunks": {"use_chunking": False},
    "no message index": {"index_types": IndexType.CHUNK | IndexType.ATTACHMENT | IndexType.METADATA},
    "no index": {"index_types": IndexType.NONE},
    "no statistics": {"use_statistics": False},
    "no channels in the summary": {"repeat_channels": False, "chunk_size": 300},
    "no schemas in the summary": {"repeat_schemas": False, "chunk_size": 300},
    "no summary": {
        "repeat_channels": False, "repeat_schemas": False, "use_statistics": False, "index_types": IndexType.NONE,
        "use_summary_offsets": False, "chunk_size": 300,
    },
    "no checksums": {"enable_crcs": False},
}  # fmt: skip


def chunk_places(path):
    """Offset and length of each chunk record's content."""
    data, offset, found = path.read_bytes(), 8, []
    while offset + 9 < len(data) - 8:
        kind, length = struct.unpack_from("<BQ", data, offset)
        if kind == CHUNK:
            found.append((offset + 9, length))
        offset += 9 + length
    return found


def records(data):
    """Offset of each record's head, its type and the length of its content."""
    offset = len(MAGIC)
    while offset + 9 <= len(data) - len(MAGIC):
        kind, length = struct.unpack_from("<BQ", data, offset)
        yield offset, kind, length
        offset += 9 + length

"""The comment of a JPEG file (ITU-T T.81, marker COM), which decoders skip: it says what a picture belongs to."""

from __future__ import annotations

import struct

from reasonseg_ros.errors import InvalidInput

_START, _COMMENT, _SCAN, _END = b"\xff\xd8", 0xFE, 0xDA, 0xD9
LONGEST_BYTES = 0xFFFF - 2


def with_comment(jpeg: bytes, text: str) -> bytes:
    """The file with `text` as its first comment. Raises InvalidInput for no JPEG, or text beyond LONGEST_BYTES."""
    data = text.encode("utf-8", "replace")
    if not jpeg.startswith(_START) or len(data) > LONGEST_BYTES:
        raise InvalidInput(f"a comment of {len(data)} bytes; expected a JPEG and at most {LONGEST_BYTES} bytes")
    return b"".join((_START, bytes((0xFF, _COMMENT)), struct.pack(">H", len(data) + 2), data, jpeg[2:]))


def comment_of(jpeg: bytes) -> str | None:
    """The first comment of a file; None if it has none before its pixels, or is no JPEG."""
    place = 2
    while jpeg.startswith(_START) and place + 4 <= len(jpeg) and jpeg[place] == 0xFF:
        marker, (length,) = jpeg[place + 1], struct.unpack_from(">H", jpeg, place + 2)
        if marker in (_SCAN, _END) or length < 2:
            return None
        if marker == _COMMENT:
            return jpeg[place + 4 : place + 2 + length].decode("utf-8", "replace")
        place += 2 + length
    return None

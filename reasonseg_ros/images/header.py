"""Reads format, size and completeness of an image file without decoding it.

A small file may declare a huge image. The size is read from the header, so that the file can be refused before memory
is allocated for its pixels.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from reasonseg_ros.errors import InvalidInput, UnusableImage

MAX_MEGAPIXELS = 100.0
"""Larger images and masks are refused. The node's limit is the parameter `camera.max_megapixels`."""

MAX_PARTS = 100_000
"""Maximum chunks of a PNG, or segments of a JPEG. No camera writes more, and a hostile file must not block a thread."""

MAX_SCANS = 100
"""Maximum scans of a progressive JPEG. It usually has about 10, and each is decoded over all pixels."""

MAX_TILE_PIXELS = 16_000_000
"""Maximum pixels of a TIFF tile. A decoder allocates whole tiles, even for a small image."""

_PNG = b"\x89PNG\r\n\x1a\n"
# In a scan, FF only precedes 00 (a data byte of FF) or a restart marker, so this also finds the end of a scan.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_START, _JPEG_END, _JPEG_SCAN, _JPEG_TEMPORARY = 0xD8, 0xD9, 0xDA, 0x01
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 256, 257, 322, 323
_TIFF_ORIENTATION, _TIFF_AS_STORED = 274, 1
_TIFF_NUMBERS = {3: "H", 4: "I"}
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_WHITE_IS_ZERO = 258, 262, 0
_TIFF_UNSCALED_BITS = (10, 12, 14)
"""OpenCV stores these in 16 bits without scaling them, so that the image is nearly black."""
_BMP_MASKS, _BMP_ORDER = 3, (0xFF0000, 0xFF00, 0xFF)
"""Compression with a mask for each colour, and the only masks that OpenCV knows behind a header without alpha."""
_TIFF_COLOURS = (0, 1, 2, 3, 5, 6)
"""Grey, RGB, palette, CMYK, YCbCr. OpenCV decodes CIELAB to other colours than those that are meant."""


@dataclass(frozen=True)
class ImageHeader:
    """Format and size of an image. `format` is `jpeg`, `png`, `webp`, `tiff` or `bmp`."""

    format: str
    size_wh: tuple[int, int]


def read_header(data: Any) -> ImageHeader:
    """Format and size of an image file's bytes. Bytes after the end of the image are ignored.

    Raises UnusableImage for an unknown encoding, a damaged or truncated image, and zero size.
    """
    view = memoryview(data).cast("B")
    start = bytes(view[:12])
    name, read = next(((name, read) for matches, name, read in _READERS if matches(start)), ("", None))
    if read is None:
        raise UnusableImage("unknown encoding", f"{len(view)} bytes are neither JPEG, PNG, WebP, TIFF nor BMP")
    try:
        size_wh = read(view)
    except (struct.error, IndexError):
        raise UnusableImage("truncated image", f"{name.upper()} of {len(view)} bytes ends in its header") from None
    if min(size_wh) < 1:
        raise UnusableImage("zero size", f"{size_wh[0]} x {size_wh[1]} pixels in the {name.upper()} header")
    return ImageHeader(name, size_wh)


def check_pixels(size_wh: tuple[int, int], max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Raises UnusableImage ("too large") if the image has more pixels than the limit."""
    width, height = size_wh
    if width * height > max_megapixels * 1e6:
        raise UnusableImage(
            "too large",
            f"{width} x {height} pixels; at most {max_megapixels:g} megapixels are read (camera.max_megapixels)",
        )


def check_mask_pixels(size_wh: tuple[int, int]) -> None:
    """Raises InvalidInput if the mask has more than MAX_MEGAPIXELS."""
    width, height = size_wh
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise InvalidInput(f"mask of {width} x {height} pixels; at most {MAX_MEGAPIXELS:g} megapixels are read")


def _png_size(view: memoryview) -> tuple[int, int]:
    if bytes(view[12:16]) != b"IHDR":
        raise UnusableImage("damaged image", f"PNG of {len(view)} bytes without its header chunk")
    at = len(_PNG)
    for _ in range(MAX_PARTS):
        if at + 12 > len(view):
            raise UnusableImage("truncated image", f"PNG of {len(view)} bytes without its end mark")
        length, kind = struct.unpack_from(">I4s", view, at)
        at += 12 + length
        if kind == b"IEND":
            width, height = struct.unpack_from(">II", view, 16)
            return width, height
    raise UnusableImage("damaged image", f"PNG of more than {MAX_PARTS} chunks")


def is_deep_png(data: Any) -> bool:
    """Whether a complete image file is a PNG of 16 bits."""
    return bytes(data[:8]) == _PNG and data[24] == 16


def _jpeg_size(view: memoryview) -> tuple[int, int]:
    # Decoders silently fill the missing part of a truncated JPEG with grey, so the end mark is required here. Segments
    # are skipped one by one, because a thumbnail in the EXIF data also has an end mark.
    size_wh, scans, at = None, 0, 2
    for _ in range(MAX_PARTS):
        match = _JPEG_MARKER.search(view, at)
        if match is None:
            raise UnusableImage("truncated image", f"JPEG of {len(view)} bytes without its end mark")
        marker, at = view[match.start(1)], match.end()
        if marker == _JPEG_END:
            if size_wh is None or not scans:
                raise UnusableImage("damaged image", f"JPEG of {len(view)} bytes ends before its first pixels")
            return size_wh
        if marker in (_JPEG_START, _JPEG_TEMPORARY):
            continue
        if marker in _JPEG_FRAMES and size_wh is None:
            height, width = struct.unpack_from(">HH", view, at + 3)
            size_wh = width, height
        scans += marker == _JPEG_SCAN
        if scans > MAX_SCANS:
            raise UnusableImage("damaged image", f"JPEG of more than {MAX_SCANS} scans")
        at += struct.unpack_from(">H", view, at)[0]
    raise UnusableImage("damaged image", f"JPEG of more than {MAX_PARTS} segments")


def _webp_size(view: memoryview) -> tuple[int, int]:
    if struct.unpack_from("<I", view, 4)[0] + 8 > len(view):
        raise UnusableImage("truncated image", f"WebP of {len(view)} bytes is shorter than its header says")
    kind = bytes(view[12:16])
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", view, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", view, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width, height = (int.from_bytes(view[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    raise UnusableImage("damaged image", f"WebP of {len(view)} bytes with unknown contents {kind!r}")


def without_tiff_orientation(data: Any) -> Any:
    """The bytes of a valid TIFF with the default orientation, because OpenCV always applies the orientation."""
    view = memoryview(data).cast("B")
    order, entries = _tiff_entries(view)
    for tag, kind, at in entries:
        if tag == _TIFF_ORIENTATION and kind == 3 and struct.unpack_from(f"{order}H", view, at)[0] != _TIFF_AS_STORED:
            changed = bytearray(view)
            struct.pack_into(f"{order}H", changed, at, _TIFF_AS_STORED)
            return bytes(changed)
    return data


def _tiff_entries(view: memoryview) -> tuple[str, Iterator[tuple[int, int, int]]]:
    """Byte order, and for each entry of the first image its tag, type and the offset of its first value."""
    order = "<" if bytes(view[:2]) == b"II" else ">"
    directory = struct.unpack_from(f"{order}I", view, 4)[0]
    count = struct.unpack_from(f"{order}H", view, directory)[0]
    places = range(directory + 2, directory + 2 + 12 * count, 12)

    def entry(at: int) -> tuple[int, int, int]:
        tag, kind, count = struct.unpack_from(f"{order}HHI", view, at)
        is_elsewhere = count * {3: 2, 4: 4}.get(kind, 0) > 4  # then the entry has the offset of its values
        return tag, kind, struct.unpack_from(f"{order}I", view, at + 8)[0] if is_elsewhere else at + 8

    return order, (entry(at) for at in places)


def _tiff_size(view: memoryview) -> tuple[int, int]:
    order, entries = _tiff_entries(view)
    sides = {}
    for tag, kind, at in entries:
        if kind in _TIFF_NUMBERS:
            sides[tag] = struct.unpack_from(order + _TIFF_NUMBERS[kind], view, at)[0]
    tile_wh = sides.get(_TIFF_TILE_WIDTH, 0), sides.get(_TIFF_TILE_HEIGHT, 0)
    if tile_wh[0] * tile_wh[1] > MAX_TILE_PIXELS:
        raise UnusableImage("too large", f"tiles of {tile_wh[0]} x {tile_wh[1]} pixels in the TIFF header")
    photometric, bits = sides.get(_TIFF_PHOTOMETRIC, 1), sides.get(_TIFF_BITS, 1)
    if bits in _TIFF_UNSCALED_BITS:
        raise UnusableImage("unknown encoding", f"TIFF of {bits} bits; save it with 8 or 16 bits")
    if photometric not in _TIFF_COLOURS:
        raise UnusableImage("unknown encoding", f"TIFF of colour space {photometric}; save it as RGB or grey")
    if photometric == _TIFF_WHITE_IS_ZERO and bits > 8:
        # OpenCV turns these values at 8 bits only.
        raise UnusableImage("unknown encoding", f"TIFF of {bits} bits whose 0 is white; save 0 as black")
    return sides.get(_TIFF_WIDTH, 0), sides.get(_TIFF_HEIGHT, 0)


def _bmp_size(view: memoryview) -> tuple[int, int]:
    if struct.unpack_from("<I", view, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", view, 18)
        return width, height
    header_bytes, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", view, 14)
    if compression == _BMP_MASKS and bits == 32 and header_bytes < 56:
        masks = struct.unpack_from("<III", view, 54)
        if masks != _BMP_ORDER:
            stated = ", ".join(f"{mask:08x}" for mask in masks)
            raise UnusableImage("unknown encoding", f"BMP with the colour masks {stated}; save it as PNG")
    return width, abs(height)  # negative if the rows start at the top


_READERS: tuple[tuple[Callable[[bytes], bool], str, Callable[[memoryview], tuple[int, int]]], ...] = (
    (lambda start: start.startswith(b"\xff\xd8\xff"), "jpeg", _jpeg_size),
    (lambda start: start.startswith(_PNG), "png", _png_size),
    (lambda start: start.startswith(b"RIFF") and start[8:] == b"WEBP", "webp", _webp_size),
    (lambda start: start.startswith((b"II*\0", b"MM\0*")), "tiff", _tiff_size),
    (lambda start: start.startswith(b"BM"), "bmp", _bmp_size),
)

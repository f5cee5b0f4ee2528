"""Contents of sensor_msgs/CompressedImage: colour images and depth, as image_transport's plugins write them.

`format` is for example `rgb8; jpeg compressed bgr8`: the encoding before compression, then the compression. Many
cameras write only `jpeg`. Here the codec is read from the bytes, and the meaning of the pixels from the encoding.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import UnusableImage
from reasonseg_ros.images.encodings import DEPTH_ENCODINGS, ENCODINGS, colour_encoding, rgb_from_packed
from reasonseg_ros.images.files import decode_image, rgb_from_pixels
from reasonseg_ros.images.header import MAX_MEGAPIXELS, check_pixels, read_header
from reasonseg_ros.images.rvl import decode_rvl
from reasonseg_ros.types import FloatArray, RgbImage

_DEPTH_HEADER = struct.Struct("<iff")
"""Header of compressedDepth: kind of quantisation (0: inverse depth), and its two parameters."""
_NAMELESS_CHANNELS = re.compile(r"(8|16|32|64)[USF]C[2-9]")
"""Encodings that do not state the order of colours. image_transport compresses these as if blue came first."""
_RVL_SIZE = struct.Struct("<II")


@dataclass(frozen=True)
class CompressedFormat:
    """The parsed `format`. `encoding` is that of the image before compression; empty if not stated."""

    encoding: str
    is_compressed_depth: bool
    is_rvl: bool

    @property
    def is_depth(self) -> bool:
        """Whether it can only be depth; mono16 may also be a grey image."""
        return self.is_compressed_depth or self.encoding in ("16UC1", "32FC1")


def parse_format(text: str) -> CompressedFormat:
    """Parse CompressedImage.format."""
    first, separator, rest = text.partition(";")
    encoding = first.strip()
    if not separator:
        # Without a semicolon it is a codec, or an encoding from a publisher that omits the codec.
        words = encoding.split()
        encoding = words[0] if words and words[0] in (*ENCODINGS, *DEPTH_ENCODINGS) else ""
        rest = first
    return CompressedFormat(encoding, "compressedDepth" in rest, "rvl" in rest.split())


def check_compressed_colour(text: str, data: Any, max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Check format and header of a compressed colour image, without decoding it. Raises UnusableImage."""
    stated = parse_format(text)
    if stated.is_depth:
        raise UnusableImage("depth encoding", f"format {text[:60]!r} on a colour topic; publish it on the depth topic")
    if stated.encoding.startswith("bayer_") or _NAMELESS_CHANNELS.fullmatch(stated.encoding):
        colour_encoding(stated.encoding)
    _check_header(text, data, max_megapixels)


def rgb_from_compressed_colour(text: str, data: Any, max_megapixels: float = MAX_MEGAPIXELS) -> RgbImage:
    """uint8 [H, W, 3] of a compressed colour image. Raises UnusableImage.

    A Bayer mosaic is converted by the pattern in `text`. The EXIF orientation is ignored, because the calibration is
    for the stored pixels.
    """
    check_compressed_colour(text, data, max_megapixels)
    encoding = parse_format(text).encoding
    pixels = decode_image(data, max_megapixels)
    # A file with three channels already holds colours, regardless of the camera's encoding.
    if pixels.ndim == 2 and encoding.startswith("bayer_"):
        return rgb_from_packed(pixels, encoding.rstrip("0123456789") + str(8 * pixels.itemsize))
    if pixels.ndim == 2 and pixels.dtype == np.uint16 and not encoding.endswith("16"):
        raise UnusableImage(
            "depth encoding",
            f"16-bit grey with format {text[:60]!r} may be depth; for a grey image write 'mono16; png compressed'",
        )
    if pixels.ndim == 2 and encoding.startswith(("yuv", "yuyv", "uyvy", "nv")):
        raise UnusableImage("conversion failed", f"format {text[:60]!r}, but its pixels are grey")
    return rgb_from_pixels(pixels)


def check_compressed_depth(text: str, data: Any, max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Check format and header of compressed depth, without decoding it. Raises UnusableImage."""
    stated = parse_format(text)
    if stated.encoding and stated.encoding not in DEPTH_ENCODINGS:
        known = ", ".join(DEPTH_ENCODINGS)
        raise UnusableImage("unknown depth encoding", f"format {text[:60]!r}; known encodings are {known}")
    if stated.is_compressed_depth and not stated.encoding:
        raise UnusableImage("unknown depth encoding", f"format {text[:60]!r} says neither 16UC1 nor 32FC1")
    if stated.is_rvl:
        check_pixels(_rvl_size(data), max_megapixels)
    else:
        _check_header(text, _depth_file(stated, data)[0], max_megapixels)


def depth_from_compressed(text: str, data: Any, max_megapixels: float = MAX_MEGAPIXELS) -> FloatArray:
    """Compressed depth in metres, float32 [H, W]; 0 or NaN is unknown. Raises UnusableImage.

    `16UC1` is in millimetres, losslessly compressed (PNG, TIFF, or compressedDepth with PNG or RVL). `32FC1` is in
    metres, as TIFF or quantised by compressedDepth.
    """
    check_compressed_depth(text, data, max_megapixels)
    stated = parse_format(text)
    if stated.is_rvl:
        width, height = _rvl_size(data)
        start = _DEPTH_HEADER.size + _RVL_SIZE.size
        stored: NDArray[Any] = decode_rvl(memoryview(data).cast("B")[start:], width * height).reshape(height, width)
        parameters = _DEPTH_HEADER.unpack_from(data)[1:]
    else:
        file, parameters = _depth_file(stated, data)
        stored = decode_image(file, max_megapixels)
    if stated.encoding == "32FC1" and stated.is_compressed_depth:
        return _from_inverse(stored, *parameters)
    expected = np.float32 if stated.encoding == "32FC1" else np.uint16
    if stored.ndim != 2 or stored.dtype != expected:
        channels = 1 if stored.ndim == 2 else stored.shape[2]
        raise UnusableImage(
            "unknown depth encoding",
            f"format {text[:60]!r} holds {channels} channels of {stored.dtype}; expected one of {expected.__name__}",
        )
    return stored.astype(np.float32) / np.float32(1 if expected == np.float32 else 1000)


def _check_header(text: str, data: Any, max_megapixels: float) -> None:
    try:
        header = read_header(data)
    except UnusableImage as error:
        raise UnusableImage(error.reason, f"{str(error).partition(': ')[2]} (format {text[:60]!r})") from error
    check_pixels(header.size_wh, max_megapixels)


def _depth_file(stated: CompressedFormat, data: Any) -> tuple[memoryview, tuple[float, float]]:
    """The image file in compressed depth, and the parameters of its quantisation. Raises UnusableImage."""
    view = memoryview(data).cast("B")
    # Some publishers of 16UC1 omit the header, which is not used for this encoding.
    if not stated.is_compressed_depth or (stated.encoding != "32FC1" and bytes(view[:4]) == b"\x89PNG"):
        return view, (0.0, 0.0)
    if len(view) < _DEPTH_HEADER.size:
        raise UnusableImage("truncated image", f"compressedDepth of {len(view)} bytes ends in its header")
    _, a, b = _DEPTH_HEADER.unpack_from(view)
    return view[_DEPTH_HEADER.size :], (a, b)


def _rvl_size(data: Any) -> tuple[int, int]:
    if len(data) < _DEPTH_HEADER.size + _RVL_SIZE.size:
        raise UnusableImage("truncated image", f"compressedDepth of {len(data)} bytes ends in its header")
    width, height = _RVL_SIZE.unpack_from(data, _DEPTH_HEADER.size)
    if not width or not height:
        raise UnusableImage("zero size", f"{width} x {height} pixels in the RVL header")
    return width, height


def _from_inverse(stored: NDArray[Any], a: float, b: float) -> FloatArray:
    """Quantised inverse depth in metres, a / (value - b). The value 0 is unknown."""
    if stored.ndim != 2 or stored.dtype != np.uint16 or not (np.isfinite([a, b]).all() and a > 0):
        detail = f"32FC1 by compressedDepth of type {stored.dtype} with parameters {a:g} and {b:g}; expected a > 0"
        raise UnusableImage("unknown depth encoding", detail)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth_m = np.float32(a) / (stored.astype(np.float32) - np.float32(b))
    depth_m[(stored == 0) | ~(depth_m > 0)] = np.nan
    return depth_m

"""Reads masks that other tools saved as image files: the stored values, or why they are ambiguous.

A PNG can hold a mask in many ways. Reading it as a picture is right for most of them, but loses or inverts some: a
palette whose first colour is white, a mask in the alpha channel, ids in 16 bits for each colour, a map of
probabilities. Each of these is refused, and the message says what to save instead.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.pictures import forget_xmp
from reasonseg_ros.images.header import check_mask_pixels

Values = NDArray[np.integer[Any]]

MOST_VALUES = 64
"""Most different nonzero values in a mask, one for each instance. A map of probabilities has more."""

MOST_LEVELS = 4
"""Most different values between MOST_VALUES and white beside white itself, as of instances that are drawn in greys."""

_WHITE = 255
_BIT_DEPTH_AT, _COLOUR_TYPE_AT = 24, 25
_GREY, _PALETTE = 0, 3


def mask_values(data: bytes, name: str) -> Values:
    """The stored values [H, W] of a PNG mask. `name` is the file's name for messages.

    For a palette they are the indices; for equal colour channels, one of these. Raises InvalidInput if the file is
    damaged or ambiguous.
    """
    values = stored_values(data, name)
    found = np.unique(values[values != 0])
    remedy = f"save a mask with 0 outside and one value inside (up to {MOST_VALUES} are read)"
    if len(found) > MOST_VALUES:
        raise InvalidInput(
            f"{name} holds {len(found)} different values besides 0, as a map of probabilities does; {remedy}"
        )
    levels = found[(found > MOST_VALUES) & (found < _WHITE)]
    is_grey = data[_COLOUR_TYPE_AT] != _PALETTE
    if is_grey and len(levels) > MOST_LEVELS and found[-1] == _WHITE:
        raise InvalidInput(
            f"{name} holds {len(levels)} values from {levels[0]} to {levels[-1]} beside 255, as the soft edges of a "
            f"mask that was resized or saved as JPEG; {remedy}"
        )
    return values


def stored_values(data: bytes, name: str) -> Values:
    """As `mask_values`, for any number of different values."""
    # OpenCV would turn a palette's indices into colours.
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                check_mask_pixels(image.size)
                image.load()
                forget_xmp(image)
                if image.mode == "P":
                    _check_palette(image, name)
                values = np.asarray(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{name} is not a PNG that can be read: {error}") from error
    bits, colour_type = data[_BIT_DEPTH_AT], data[_COLOUR_TYPE_AT]
    if values.ndim == 3:
        values = _one_channel(values, bits, name)
    if colour_type == _GREY and bits in (2, 4):
        values = values // (255 // (2**bits - 1))  # the decoder spreads them over 8 bits
    return values.astype(np.uint8) if values.dtype == bool else values


def _check_palette(image: Any, name: str) -> None:
    """Raises InvalidInput unless index 0 is the background: black or transparent."""
    first, hidden = list(image.getpalette("RGB") or ())[:3], image.info.get("transparency")
    is_hidden = hidden == 0 or (isinstance(hidden, bytes) and hidden[:1] == b"\0")
    if first != [0, 0, 0] and not is_hidden:
        raise InvalidInput(
            f"{name} has a palette whose first colour is {tuple(first)}, so 0 may be inside or outside the mask; save "
            "it with one channel, 0 outside"
        )


def _one_channel(values: NDArray[Any], bits: int, name: str) -> NDArray[Any]:
    colours, alpha = (values[..., :-1], values[..., -1]) if values.shape[2] in (2, 4) else (values, None)
    if bits > 8:
        raise InvalidInput(f"{name} has {bits} bits for each colour, which lose small values; save one channel")
    if alpha is not None and (alpha != 255).any():
        raise InvalidInput(f"{name} is partly transparent, so the mask may be in its alpha channel; save one channel")
    if (colours != colours[..., :1]).any():
        raise InvalidInput(f"{name} is a colour image; save the mask with one channel")
    return np.array(colours[..., 0])

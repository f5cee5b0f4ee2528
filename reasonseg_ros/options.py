"""Types of command line options that several verbs share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable


def size_wh(text: str) -> tuple[int, int]:
    """Width and height in pixels from a text like 640x480."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.lower())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write for example 640x480")
    return int(match[1]), int(match[2])


def whole_number(least: int) -> Callable[[str], int]:
    """The type of an option that counts something."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, {least} or more")
        return int(text)

    return read

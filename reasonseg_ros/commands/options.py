"""Types of command line options that several verbs share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from reasonseg_ros.errors import ConfigError


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


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number from 0 to 1")
    return value


def set_values(texts: Sequence[str]) -> dict[str, Any]:
    """The node's parameters of `--set NAME=VALUE ...`, by dotted names. Raises ConfigError."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text[:80]!r}; expected NAME=VALUE, for example reasoner.device=cuda")
        try:
            values[name] = yaml.safe_load(value)
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            raise ConfigError(f"--set {text[:80]!r}: the value is no YAML; quote it") from error
    return values

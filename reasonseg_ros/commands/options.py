"""Types of command line options, shared by the verbs. They raise ArgumentTypeError for a bad value."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from reasonseg_ros.errors import ConfigError, InvalidInput
from reasonseg_ros.files.yaml_loader import Loader


def size_wh(text: str) -> tuple[int, int]:
    """Width and height in pixels, from a text such as `640x480`."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.lower())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write for example 640x480")
    return int(match[1]), int(match[2])


MOST = 999_999_999
"""Default maximum of whole numbers."""


def whole_number(least: int, most: int = MOST) -> Callable[[str], int]:
    """The type of an option that is a whole number from `least` to `most`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            is_open = most >= MOST and not (text.isdecimal() and int(text) > most)
            bounds = f"{least} or more" if is_open else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, {bounds}")
        return int(text)

    return read


def number(least: float, most: float = 1e9) -> Callable[[str], float]:
    """The type of an option that is a number from `least` to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:  # also refuses NaN
            raise argparse.ArgumentTypeError(f"{text!r}; expected a number from {least:g} to {most:g}")
        return value

    return read


share = number(0, 1)
seed = whole_number(0, 10**18 - 1)


class SeedRange(argparse.Action):
    """Two values of `seed`: the first seed and how many, at least one."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs=2, type=seed, metavar=("START", "COUNT"), **more)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if values[1] < 1:
            parser.error(f"argument {option}: COUNT is 0; expected a number of 1 or more")
        setattr(namespace, self.dest, values)


LEAST_RATE = 0.001
"""Minimum rate in Hz, and minimum relative speed."""


def ros_name(text: str) -> str:
    """A valid ROS name of a node or a topic; empty for none."""
    if text and not re.fullmatch(r"(?:~?/)?[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z_][A-Za-z0-9_]*)*/?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r}; expected a ROS name: letters, digits and _, divided by single /, for example /robot1/reasonseg"
        )
    return text


def node_name(text: str) -> str:
    """A valid, non-empty ROS name of a node."""
    if not text.strip("/") or text.startswith("~"):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a node's name, for example /reasonseg")
    return ros_name(text)


def check_stated(arguments: Sequence[str]) -> None:
    """Raises InvalidInput for an option with an empty value, as of a shell variable that is not set.

    It would silently mean the default, or the current folder. An empty topic means none.
    """
    for option, value in zip(arguments, [*arguments[1:], "-"], strict=True):
        if option == "--":
            return
        name, is_joined, joined = option.partition("=")
        is_empty = not joined if is_joined else not value
        if name.startswith("--") and is_empty and not name.endswith("-topic"):
            raise InvalidInput(f"{name} is given an empty value; leave it out, or check the variable that it is from")


def fill_dependent(settings: argparse.Namespace, is_used: bool, defaults: Mapping[str, Any], why_not: str) -> None:
    """Set dependent options that are None in `settings` to their `defaults`.

    Raises InvalidInput if one was given although they are not used. `why_not` ends the error message, for example
    `without --topics`.
    """
    for name, default in defaults.items():
        if getattr(settings, name) is None:
            setattr(settings, name, default)
        elif not is_used:
            raise InvalidInput(f"--{name.replace('_', '-')} has no effect {why_not}; leave it out")


def set_values(texts: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The node's parameters from `--set NAME=VALUE ...` and from other options, by dotted name.

    `options` has the parameters of each other option; None if it was not given. Raises ConfigError, also if a parameter
    gets two values.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}

    def take(name: str, value: Any, source: str) -> None:
        known = values.setdefault(name, value)
        if known != value or type(known) is not type(value):
            stated = f"{known!r:.80} by {sources[name]} and {value!r:.80} by {source}"
            raise ConfigError(f"{name} gets two values, {stated}; leave one out")
        sources.setdefault(name, source)

    for option, given in (options or {}).items():
        for name, value in given.items():
            if value is not None:
                take(name, value, option)
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text[:80]!r}; expected NAME=VALUE, for example reasoner.device=cuda")
        try:
            read = yaml.load(value, Loader)
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            raise ConfigError(f"--set {text[:80]!r}: the value is not YAML; quote it") from error
        take(name, read, "--set")
    return values

"""Reads small JSON and YAML files from outside, with limits of size and depth and a short reason for errors."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from reasonseg_ros.files.strict_yaml import parse_yaml

MAX_BYTES = 16 * 2**20
"""Limit for a model's card, configuration or manifest. The largest real ones, weight indices, have 1 MB."""
MAX_DEPTH = 100


_REPR = reprlib.Repr()
_REPR.maxlevel = 2


class UnreadableDocument(ValueError):
    """The reason why a file cannot be read, in one short line."""


def read_json_document(path: Path) -> Any:
    """Content of a JSON file. Raises UnreadableDocument."""
    return _read(path, json.loads)


def read_yaml_document(path: Path) -> Any:
    """Content of a YAML file as plain values. Raises UnreadableDocument."""
    return _read(path, parse_yaml)


def short_repr(value: Any) -> str:
    """Bounded `repr` of a value from outside, for an error message."""
    return _REPR.repr(value)[:200]


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UnreadableDocument(f"larger than {MAX_BYTES >> 20} MB")
        value = parse(data.decode("utf-8"))
    except UnreadableDocument:
        raise
    except RecursionError:
        raise UnreadableDocument(f"nested deeper than {MAX_DEPTH} levels") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UnreadableDocument(" ".join(str(error).split())[:300]) from error
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    """Raises UnreadableDocument for deep nesting and reference cycles (YAML aliases), on which other code recurses."""
    level, seen = [value], set()
    for _ in range(MAX_DEPTH):
        children: list[Any] = []
        for item in level:
            if isinstance(item, (dict, list)) and id(item) not in seen:
                seen.add(id(item))
                children += item.values() if isinstance(item, dict) else item
        if not children:
            return
        level = children
    raise UnreadableDocument(f"nested deeper than {MAX_DEPTH} levels")

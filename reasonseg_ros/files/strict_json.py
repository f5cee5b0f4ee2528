"""Strict JSON: no NaN, no repeated keys, no nesting that breaks the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.bounded import read_data


def parse_json(text: str | bytes, *, unique_keys: bool = True, finite: bool = True) -> Any:
    """The value of a JSON text. Raises InvalidInput with the error, without the file's name.

    The standard library accepts NaN and Infinity, keeps the last of repeated keys, and raises RecursionError for deep
    nesting. `finite` False accepts NaN and Infinity, for callers that check the numbers; `unique_keys` False accepts
    repeated keys.
    """
    hook = _object if unique_keys else None
    try:
        return json.loads(text, parse_constant=_refuse if finite else None, object_pairs_hook=hook)
    except InvalidInput:
        raise
    except UnicodeDecodeError as error:
        raise InvalidInput(f"it is not UTF-8 ({error.reason} at byte {error.start})") from error
    except RecursionError as error:
        raise InvalidInput("it is nested too deeply") from error
    except ValueError as error:  # also a number with too many digits
        raise InvalidInput(str(error)) from error


def read_json_file(path: Path) -> Any:
    """The value in a UTF-8 file. Raises InvalidInput with the file's path."""
    try:
        return parse_json(read_data(path))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    except InvalidInput as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from error


def json_text(values: Any, indent: int | None = None, compact: bool = False) -> str:
    """JSON that can be written as UTF-8, on one line unless `indent` is set; `compact` has no spaces.

    Raises InvalidInput for a number that is not finite. A lone surrogate, which UTF-8 cannot hold, becomes a question
    mark.
    """
    separators = (",", ":") if compact else None
    try:
        text = json.dumps(values, indent=indent, ensure_ascii=False, allow_nan=False, separators=separators)
    except ValueError as error:
        raise InvalidInput(f"a number is not finite, which JSON cannot hold: {error}") from error
    return text.encode("utf-8", "replace").decode("utf-8")


def _refuse(constant: str) -> Any:
    raise InvalidInput(f"it holds {constant}, which is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidInput(f"the key {twice!r:.80} stands twice in one object")
    return values

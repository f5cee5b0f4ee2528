"""JSON files of annotators, in whatever encoding their editors wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.strict_json import parse_json


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file: UTF-8 (with or without a byte order mark), or else cp1252. Raises InvalidInput."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InvalidInput(f"the annotation {path} is missing; get it from the data set again") from None
    except OSError as error:
        raise InvalidInput(f"the annotation {path} cannot be read: {error.strerror}") from error
    try:
        content = parse_json(_text(data), finite=False)
    except (UnicodeDecodeError, InvalidInput) as error:
        raise InvalidInput(f"the annotation {path} is no JSON ({error}); save it again as UTF-8") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"the annotation {path} holds a {type(content).__name__}; expected an object {{...}}")
    return content


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")

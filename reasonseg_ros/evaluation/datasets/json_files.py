"""Reads JSON files of annotations in the encodings that editors use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.bounded import read_data
from reasonseg_ros.files.strict_json import parse_json

_OTHER_ENCODING = re.compile(
    rb"(?=[\x80-\xff]{4})[\x85\x91-\x97\xa0\xab\xbb]{0,3}[^\x00-\x7f\x85\x91-\x97\xa0\xab\xbb]"
)
"""Four bytes in a row beyond ASCII that are not all quotes, dashes and spaces: letters of Chinese, Japanese, Korean or
Cyrillic encodings. Read as cp1252, they would become accented letters.
"""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file: UTF-8 (with or without a byte order mark), or else cp1252. Raises InvalidInput."""
    try:
        data = read_data(path)
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


def plain_id(value: Any) -> str:
    """An id as text: 7, 7.0 and "7" are the same, because tools write each of them. Empty if it is no id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if isinstance(value, (int, str)) and not isinstance(value, bool) else ""


def by_id(entries: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Entries by the `plain_id` of their `id`. Left out: entries without an id, and, as in merged files, different
    entries with the same one.
    """
    found: dict[str, Mapping[str, Any]] = {}
    unclear = {""}
    for entry in entries:
        one = plain_id(entry.get("id"))
        if found.setdefault(one, entry) != entry:
            unclear.add(one)
    return {one: entry for one, entry in found.items() if one not in unclear}


def flag(value: Any, name: str) -> bool:
    """A yes or no as annotators write it: true, 1, "true" or "1" and their opposites; None is no.

    Raises InvalidInput for anything else. Python would take every text for yes, "false" too.
    """
    plain = value.strip().lower() if isinstance(value, str) else value
    if plain in (None, False, "false", "0"):
        return False
    if plain in (True, "true", "1"):
        return True
    raise InvalidInput(f"{name} is {value!r:.40}; expected true or false")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if _OTHER_ENCODING.search(data):
            raise InvalidInput("its text is neither UTF-8 nor of Western European letters (cp1252)") from error
        return data.decode("cp1252")

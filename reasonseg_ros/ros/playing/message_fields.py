"""Whether a message type is installed as a bag defines it: in another version the same bytes mean other values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys.store import Typestore

from reasonseg_ros.bags.definitions import message_type_of

_NAMES = {"float64": "double", "float32": "float", "bool": "boolean", "byte": "octet", "char": "uint8"}
"""rosidl's names of the basic types."""
_PLACEHOLDER = "structure_needs_at_least_one_member"
_BOUND = re.compile(r"(?<=string)<[0-9]+>|, [0-9]+(?=>)")
"""Bounds of texts and lists, which do not change the bytes."""


def differing_field(store: Typestore, kind: str, class_of: Callable[[str], Any], depth: int = 0) -> str:
    """The first field of message type `kind` that `store` and its installed class describe differently, or empty."""
    fields = class_of(kind).get_fields_and_field_types()
    recorded = [(name, field) for name, field in store.fielddefs[kind][1] if name != _PLACEHOLDER]
    known = [(name, text) for name, text in fields.items() if name != _PLACEHOLDER]
    for number in range(max(len(recorded), len(known))):
        name, field = recorded[number] if number < len(recorded) else ("", None)
        other, text = known[number] if number < len(known) else ("", "")
        if name != other or _text(field) != _BOUND.sub("", text):
            return name or other
        inner = message_type_of(field)
        if inner and depth < 16 and (found := differing_field(store, inner, class_of, depth + 1)):
            return f"{name}.{found}"
    return ""


def _text(field: Any) -> str:
    """The field's type in rosidl's notation, without bounds."""
    kind, value = field
    if kind == Nodetype.BASE:
        return _NAMES.get(value[0], str(value[0]))
    if kind == Nodetype.NAME:
        return str(value).replace("/msg/", "/")
    inner = _text(value[0])
    return f"{inner}[{value[1]}]" if kind == Nodetype.ARRAY else f"sequence<{inner}>"

"""Messages by the bag's definition of their type. Another version of a package may have other fields."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from reasonseg_ros.bags.messages import typestore
from reasonseg_ros.bags.records import Record, Topic
from reasonseg_ros.errors import InvalidInput


def decoded(record: Record) -> Any:
    """The message of a record, decoded by the bag's definition of its type. Raises InvalidInput if it is damaged."""
    topic = record.topic
    try:
        if record.data[1] > 1:
            raise InvalidInput(f"encapsulation {record.data[1]} is not plain CDR (0 or 1)")
        return store_of(topic).deserialize_cdr(record.data, topic.message_type)
    # Damaged bytes can make the decoder raise anything.
    except Exception as error:
        stated = str(error) or type(error).__name__
        raise InvalidInput(f"{len(record.data)} bytes are not a {topic.message_type}: {stated}") from error


def conformed(record: Record) -> bytes:
    """The record's CDR bytes as `typestore()` defines its type. A type that is not in `typestore()` is left as it is.

    Raises InvalidInput if the bag defines the type with other fields and the message cannot be converted.
    """
    if is_conforming(record.topic):
        return record.data
    kind = record.topic.message_type
    message = decoded(record)
    try:
        return bytes(typestore().serialize_cdr(message, kind))
    except Exception as error:  # missing fields, or fields of other types
        raise InvalidInput(f"{record.topic.name} is a {kind} of another version: {error}") from error


@lru_cache(maxsize=256)
def is_conforming(topic: Topic) -> bool:
    """Whether the bag defines the topic's type as `typestore()` does, so that its bytes mean the same."""
    kind = topic.message_type
    return kind not in typestore().fielddefs or same_fields(store_of(topic), kind)


def same_fields(store: Typestore, message_type: str) -> bool:
    """Whether names and types of all fields, also of inner messages, are those of `typestore()`."""
    recorded, own = (one.fielddefs[message_type][1] for one in (store, typestore()))
    if [(name, _layout(field)) for name, field in recorded] != [(name, _layout(field)) for name, field in own]:
        return False
    return all(same_fields(store, inner) for _, field in recorded if (inner := message_type_of(field)))


def _layout(field: Any) -> Any:
    """A field's type without the bounds of texts and lists, which do not change the bytes."""
    kind, value = field
    if kind == Nodetype.BASE:
        return value[0]
    if kind == Nodetype.NAME:
        return value
    return kind, _layout(value[0]), value[1] if kind == Nodetype.ARRAY else 0


def message_type_of(description: Any) -> str:
    """Message type of a field in a typestore, or of its items if it is a list; empty for plain values."""
    kind, value = description
    if kind == Nodetype.NAME:
        return str(value)
    return message_type_of(value[0]) if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE) else ""


def store_of(topic: Topic) -> Typestore:
    """Types from the bag's definition; `typestore` if it has no usable one."""
    return _store_of(topic.message_type, topic.definition, topic.definition_format)


@lru_cache(maxsize=256)
def _store_of(message_type: str, definition: str, definition_format: str) -> Typestore:
    if not definition.strip():
        return typestore()
    try:
        store = get_typestore(Stores.EMPTY)
        if definition_format == "ros2idl":
            for text in _idl_parts(definition):
                store.register(get_types_from_idl(text))
        else:
            store.register(get_types_from_msg(definition, message_type))
        store.generate_msgdef(message_type)  # raises if a type in it is not defined
        return store
    except Exception:  # a damaged definition can raise anything
        return typestore()


def _idl_parts(definition: str) -> list[str]:
    """The files that rosbag2 joins in one text. Each follows a line of 80 `=` and a line with its name."""
    rule = "=" * 80 + "\n"
    if not definition.startswith(f"{rule}IDL: "):
        return [definition]
    return [part.partition("\n")[2] for part in definition.split(rule)[1:]]

"""One setting: its default, description and bounds, and the check of a value."""

from __future__ import annotations

from dataclasses import Field, field
from typing import Any

from reasonseg_ros.errors import ConfigError


def setting(
    default: Any,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    read_only: bool = False,
) -> Any:
    """A field of a settings class. A number has both bounds; `read_only` takes effect when the node is configured."""
    metadata = {
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "read_only": read_only,
    }
    return field(default=default, metadata=metadata)


def check(name: str, item: Field[Any], value: Any) -> Any:
    """`value` as the field's type. Raises ConfigError with the allowed values or bounds if it is not allowed."""
    kind = type(item.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{name} = {value!r}; expected {kind.__name__}")
    limits = item.metadata
    if limits["choices"] and value not in limits["choices"]:
        raise ConfigError(f"{name} = {value!r}; expected one of {', '.join(limits['choices'])}")
    if limits["minimum"] is not None and not limits["minimum"] <= value <= limits["maximum"]:
        raise ConfigError(f"{name} = {value}; expected {limits['minimum']} to {limits['maximum']}")
    return value

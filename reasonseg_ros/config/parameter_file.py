"""Parameter files: config/reasonseg.yaml, which `make config` writes from the settings, and those of a robot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import Field
from pathlib import Path
from typing import Any

import yaml

from reasonseg_ros.config import settings
from reasonseg_ros.errors import ConfigError

HEADER = """\
# Every parameter with its default, written by `make config` from reasonseg_ros/config/.
# For a robot of your own, copy it and keep what differs.
/**:
  ros__parameters:
"""


def parameter_file() -> str:
    """YAML for `--params-file`: each setting's description and bounds as comments above its default."""
    text, section = HEADER, ""
    for name, item, value in settings():
        parent, _, leaf = name.rpartition(".")
        if parent != section:
            section = parent
            text += f"\n    {section}:\n"
        indent = "      " if section else "    "
        # JSON's strings, numbers and booleans are YAML's; a quoted "none" or "8bit" stays text.
        text += f"{indent}# {_comment(item)}\n{indent}{leaf}: {json.dumps(value)}\n"
    return text


def read_parameters(path: Path) -> dict[str, Any]:
    """What a ROS 2 parameter file sets, by dotted names; of several nodes the last counts. Raises ConfigError."""
    try:
        nodes = yaml.safe_load(path.read_text(encoding="utf-8"))
        sections = [node["ros__parameters"] or {} for node in nodes.values()]
        return {name: value for section in sections for name, value in _flat(section, "")}
    except OSError as error:
        raise ConfigError(f"parameter file {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no ROS 2 parameter file; expected a node's name with ros__parameters") from error


def _flat(section: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _comment(item: Field[Any]) -> str:
    limits = item.metadata
    notes = [limits["description"]]
    if limits["choices"]:
        notes.append(f"one of {', '.join(limits['choices'])}")
    if limits["minimum"] is not None:
        notes.append(f"{limits['minimum']} to {limits['maximum']}")
    if limits["read_only"]:
        notes.append("read at configuration")
    return "; ".join(notes)


if __name__ == "__main__":
    print(parameter_file(), end="")

"""The text of config/reasonseg.yaml, from the settings. `make config` writes it."""

from __future__ import annotations

import json
from dataclasses import Field
from typing import Any

from reasonseg_ros.config import settings

HEADER = """\
# Every parameter with its default, written by `make config` from reasonseg_ros/config.py.
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

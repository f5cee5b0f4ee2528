"""Parameter files: config/reasonseg.yaml, which `make config` writes from the settings, and those of a robot."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import Field
from pathlib import Path
from typing import Any

import yaml

from reasonseg_ros.config import settings
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.files.bounded import read_text
from reasonseg_ros.files.strict_yaml import parse_yaml

_NODE = "reasonseg"
"""Name of the node, without its namespace."""
HEADER = """\
# Every parameter with its default, written by `make config` from reasonseg_ros/config/.
# For your robot, copy it and keep only what you change.
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
    """The values of a ROS 2 parameter file for this package's node, by dotted names. Raises ConfigError.

    Sections count if their name is a wildcard or `reasonseg`, in any namespace. If a file has only one section, its
    name does not matter. A file is refused if it has several sections for `reasonseg`, or several others and none for
    it.
    """
    try:
        nodes = dict(_sections(parse_yaml(read_text(path)), ""))
        values = {name: _unique(path, _flat(section, "")) for name, section in nodes.items()}
    except OSError as error:
        raise ConfigError(f"parameter file {path} cannot be read: {error.strerror}") from error
    except ConfigError:
        raise
    except yaml.composer.ComposerError as error:
        raise ConfigError(f"parameter file {path} cannot be read: {' '.join(str(error).split())}") from error
    except (ValueError, RecursionError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is not a ROS 2 parameter file; expected a node's name with ros__parameters"
        ) from error
    own = {name: given for name, given in values.items() if name.rsplit("/", 1)[-1] in (_NODE, "*", "**")}
    named = [name for name in own if name.endswith(_NODE)]
    if len(named) > 1 or (not own and len(values) > 1):
        listed = ", ".join(map(repr, named or values))
        raise ConfigError(f"{path} is for several nodes: {listed}; give a file for one of them only")
    # The section of the node takes precedence over wildcards, regardless of the order in the file.
    chosen = sorted((own or values).items(), key=lambda item: item[0] in named)
    return {name: value for _, given in chosen for name, value in given.items()}


def check_unambiguous(path: Path, node_names: Collection[str] = (_NODE,)) -> None:
    """Raises ConfigError if ROS would silently take one of two values of a parameter in a file.

    That is: a name both nested and with dots, and a wildcard section behind that of the node, which ROS lets override
    it. `node_names` are without namespaces. The file must have been read as YAML before.
    """
    try:
        sections = list(_sections(parse_yaml(read_text(path)), ""))
        values = [(name, _unique(path, _flat(section, ""))) for name, section in sections]
    except (AttributeError, TypeError):
        return  # ROS refuses it
    own: dict[str, tuple[str, Any]] = {}
    for section, given in values:
        for name, value in given.items():
            if "*" not in section and section.rsplit("/", 1)[-1] in node_names:
                own[name] = section, value
            elif "*" in section and name in own and own[name][1] != value:
                raise ConfigError(
                    f"parameter file {path}: {section.strip('/')!r} overrides {name} of {own[name][0].strip('/')!r}, "
                    "because it stands behind it; put the wildcard first"
                )


def _sections(nodes: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Full name and parameters of each node; namespaces may be nested."""
    for name, content in nodes.items():
        full = f"{prefix}/{str(name).strip('/')}"
        if "ros__parameters" in content:
            yield full, content["ros__parameters"] or {}
        else:
            yield from _sections(content, full)


def _unique(path: Path, pairs: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ConfigError(f"parameter file {path}: {name} stands twice, nested and with dots; keep one of them")
        values[name] = value
    return values


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

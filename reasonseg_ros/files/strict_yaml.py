"""Strict YAML: no repeated keys in a mapping. PyYAML silently keeps the last one."""

from __future__ import annotations

import re
from typing import Any

import yaml

from reasonseg_ros.files.yaml_loader import Loader

_MERGE = "tag:yaml.org,2002:merge"
"""The tag of the key `<<`. The mapping may repeat keys of its value, which replaces them on purpose."""
_SURROGATE = re.compile(r"\\(?:u|U0000)[dD][89a-fA-F]")
"""An escape that libyaml refuses with the whole text. Whoever uses the one value can say more about it."""


class _Loader(Loader):
    def compose_mapping_node(self, anchor: Any) -> Any:
        return _unrepeated(super().compose_mapping_node(anchor))


class _SurrogateLoader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> Any:
        return _unrepeated(super().compose_mapping_node(anchor))


def _unrepeated(node: Any) -> Any:
    # At this point merges are not expanded yet, which would add their keys to this mapping.
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        if (key.tag, key.value) in seen:
            problem = f"the key {key.value!r:.80} stands twice in one mapping; keep one of them"
            raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
        seen.add((key.tag, key.value))
    return node


def parse_yaml(text: str) -> Any:
    """The plain values of a YAML text. Raises yaml.YAMLError, also for a repeated key in a mapping."""
    return yaml.load(text, _SurrogateLoader if _SURROGATE.search(text) else _Loader)

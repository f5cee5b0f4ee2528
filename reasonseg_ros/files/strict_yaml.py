"""Strict YAML: no repeated keys in a mapping. PyYAML silently keeps the last one."""

from __future__ import annotations

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"
"""The tag of the key `<<`. The mapping may repeat keys of its value, which replaces them on purpose."""


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> Any:
        # At this point merges are not expanded yet, which would add their keys to this mapping.
        node = super().compose_mapping_node(anchor)
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
    return yaml.load(text, _Loader)

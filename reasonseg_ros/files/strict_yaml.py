"""YAML as its standard has it: no key twice in one mapping. PyYAML keeps the last of them without a word."""

from __future__ import annotations

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"
"""The key `<<`, whose keys may stand in the mapping too: those are meant to replace them."""


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> Any:
        # Before merges are written out, which puts their keys into the same mapping.
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
    """Plain values. Raises yaml.YAMLError, also for a key that stands twice in one mapping."""
    return yaml.load(text, _Loader)

"""Whether a checkpoint's weights are those of its architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def wrong_weights(report: Mapping[str, Any]) -> str:
    """What is wrong with the weights' names and shapes by transformers' loading report; empty if all is right.

    transformers draws missing weights at random and leaves unknown ones out, both without an error.
    """
    reshaped = report["mismatched_keys"]
    kinds = {
        "are missing": sorted(map(str, report["missing_keys"])),
        "have another shape": sorted(str(key[0] if isinstance(key, tuple) else key) for key in reshaped),
        "are unknown to this architecture": sorted(map(str, report["unexpected_keys"])),
    }
    wrong = [f"{len(keys)} weights {what}, {keys[0]} for one" for what, keys in kinds.items() if keys]
    return "; ".join(wrong)

"""The node's parameters of a run, from the options of `reasonseg evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from reasonseg_ros.commands.options import set_values
from reasonseg_ros.errors import ConfigError

REFINE_STEPS = ("holes", "specks", "points", "edges")
LONGEST_ANSWER_S = 3600.0
"""Replaces the node's time limit, so that the machine's speed does not change a score."""


def config_values(settings: argparse.Namespace) -> dict[str, Any]:
    """The node's parameters of a run, by dotted name. Raises ConfigError."""
    options = {
        "--refine": {} if settings.refine is None else refine_values(settings.refine),
        "--strict": {"reasoner.strict": settings.strict or None},
        "--reasoner": {"reasoner.model": settings.reasoner},
        "--segmenter": {"segmenter.model": settings.segmenter},
        "--method": {"method": settings.method},
    }
    return {"reasoner.time_limit_s": LONGEST_ANSWER_S, **set_values(settings.overrides, options)}


def refine_values(steps: Sequence[str]) -> dict[str, Any]:
    """The node's parameters that refine by these `steps` only; empty means all. Raises ConfigError."""
    if "none" in steps and len(set(steps)) > 1:
        raise ConfigError(f"--refine {' '.join(steps)}; expected none alone, or steps")
    chosen = steps or REFINE_STEPS
    kept = [step for step in ("points", "edges") if step in chosen]
    values: dict[str, Any] = {"segmenter.refine": "both" if len(kept) == 2 else "".join(kept) or "none"}
    if "holes" not in chosen:
        values["segmenter.fill_holes_share"] = 0.0
    if "specks" not in chosen:
        values["segmenter.remove_specks_share"] = 0.0
    return values

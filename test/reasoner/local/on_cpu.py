"""Settings of a local checkpoint on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from reasonseg_ros.config.models import ReasonerConfig


def config(folder: Path, **changes: Any) -> ReasonerConfig:
    return replace(ReasonerConfig(model=str(folder), device="cpu"), **changes)

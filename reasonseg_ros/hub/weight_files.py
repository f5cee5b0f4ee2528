"""Counts the parameters in a checkpoint's safetensors files."""

from __future__ import annotations

import math
from pathlib import Path

from reasonseg_ros.files.safetensors_header import stored_tensors
from reasonseg_ros.hub_cache import weight_files


def parameter_count(folder: Path) -> int:
    """Number of parameters, from the headers of the files. Raises ModelError if a file is missing or damaged."""
    return sum(math.prod(tensor.shape) for path in weight_files(folder) for tensor in stored_tensors(path).values())

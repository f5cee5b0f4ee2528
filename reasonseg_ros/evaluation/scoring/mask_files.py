"""Reads masks of any tool from files, PNG images or COCO run lengths in JSON, and activation maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.coco_masks import rle_mask
from reasonseg_ros.evaluation.datasets.mask_images import mask_values, stored_values
from reasonseg_ros.files.bounded import read_data
from reasonseg_ros.files.strict_json import read_json_file
from reasonseg_ros.images.header import check_mask_pixels
from reasonseg_ros.types import BoolMask, FloatArray

IGNORE_VALUE = 255


@dataclass(frozen=True, eq=False)
class TargetMask:
    """bool [H, W] each. `ignore` is None if no pixel is ignored."""

    target: BoolMask
    ignore: BoolMask | None = None


ReadPrediction = Callable[[], BoolMask | None]
ReadTarget = Callable[[], TargetMask]
ReadActivation = Callable[[], FloatArray]


def predictions_in(path: Path) -> dict[str, ReadPrediction]:
    """A reader for each prediction of a folder or of a JSON file, by name.

    In a folder the names are paths without their ending. Every reader raises InvalidInput if its mask is damaged, and
    returns None for JSON's `null`: an answer that could not be parsed. PNG: 0 is background, any other value is mask.
    """
    return {name: partial(_prediction, source) for name, source in _sources(path).items()}


def targets_in(path: Path) -> dict[str, ReadTarget]:
    """A reader for each target, as in `predictions_in`. PNG: 0 is background, 255 is ignored, the rest is target.

    JSON: run lengths, or `{"target": run lengths, "ignore": run lengths}`.
    """
    return {name: partial(_target, source) for name, source in _sources(path).items()}


def activations_in(path: Path) -> dict[str, ReadActivation]:
    """A reader for each activation map of a folder, by name: .npy with numbers [h, w], or a PNG of one channel.

    Maps may be of any size and scale. Every reader raises InvalidInput if its map is damaged.
    """
    return {name: partial(_activation, source) for name, source in _files(path, (".npy", ".png")).items()}


def mask_from_coco(rle: Any) -> BoolMask:
    """bool [H, W] of COCO run lengths, `counts` a list or a compressed string. Raises InvalidInput."""
    try:
        height, width = (int(length) for length in rle["size"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput('no run lengths; expected {"size": [height, width], "counts": ...}') from error
    if min(height, width) < 1:
        raise InvalidInput(f"mask of {width} x {height} pixels; expected at least one")
    return rle_mask(rle, (width, height))


def _sources(path: Path) -> dict[str, Any]:
    """By name, the file that holds the mask, or its value in the JSON file. Raises InvalidInput."""
    if path.is_dir():
        return _files(path, (".png", ".json"))
    values = read_json_file(path)
    if not isinstance(values, dict) or "counts" in values:
        raise InvalidInput(f"{path} is not a JSON object of names with their run lengths")
    return values


def _files(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    """Files by their path in the folder without its ending. Raises InvalidInput."""
    found: dict[str, Path] = {}
    for file in sorted(file for file in folder.rglob("*") if file.suffix.lower() in endings):
        name = file.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise InvalidInput(f"{folder} has two files named {name}: keep one of {found[name].name}, {file.name}")
        found[name] = file
    if not found:
        raise InvalidInput(f"{folder} holds no {' and no '.join(endings)} file")
    return found


def _activation(file: Path) -> FloatArray:
    if file.suffix.lower() == ".png":
        return stored_values(_bytes(file), str(file)).astype(np.float32)
    try:
        # Memory-mapped, so a header that claims a huge map costs nothing. It takes no pickles, which could run code.
        values = np.lib.format.open_memmap(file, mode="r")
        if values.ndim != 2 or values.dtype.kind not in "fiub":
            raise InvalidInput(f"{file} holds {values.dtype} {values.shape}; expected numbers [h, w]")
        check_mask_pixels((values.shape[1], values.shape[0]))
        return np.asarray(values, np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInput(f"{file} is not a .npy file that can be read: {error}") from error


def _prediction(source: Any) -> BoolMask | None:
    if isinstance(source, Path) and source.suffix.lower() == ".png":
        marked: BoolMask = mask_values(_bytes(source), str(source)) != 0
        return marked
    value = read_json_file(source) if isinstance(source, Path) else source
    return None if value is None else mask_from_coco(value)


def _target(source: Any) -> TargetMask:
    if isinstance(source, Path) and source.suffix.lower() == ".png":
        values = mask_values(_bytes(source), str(source))
        ignore = values == IGNORE_VALUE
        return TargetMask((values != 0) & ~ignore, ignore if ignore.any() else None)
    value = read_json_file(source) if isinstance(source, Path) else source
    if not isinstance(value, dict) or "target" not in value:
        return TargetMask(mask_from_coco(value))
    target = mask_from_coco(value["target"])
    ignore = None if value.get("ignore") is None else mask_from_coco(value["ignore"])
    if ignore is not None and ignore.shape != target.shape:
        raise InvalidInput(f"ignore mask of {ignore.shape} for a target of {target.shape} (height, width)")
    return TargetMask(target, ignore)


def _bytes(path: Path) -> bytes:
    try:
        return read_data(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error

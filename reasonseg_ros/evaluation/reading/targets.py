"""The ground truth of a bag as targets for masks of other tools."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.scoring.mask_files import ReadTarget, TargetMask
from reasonseg_ros.images.run_lengths import Rle, mask_from_rle, rle_from_mask


def bag_targets(bag: Path) -> dict[str, ReadTarget]:
    """A reader for each target of a bag, by the id of its question; EXPRESSION/00000, /00001, ... for videos.

    Masks are held as run lengths. The reader of an unreadable target raises InvalidInput. A bag that cannot be read at
    all, or has no ground truth, raises it here.
    """
    frames: dict[str, list[ReadTarget]] = defaultdict(list)
    lost: dict[str, ReadTarget] = {}
    for number, clip in enumerate(read_clips(bag)):
        for part in clip.unreadable:
            lost[part.sample_id or f"part {number}"] = partial(_refuse, part.reason)
        for truth in (sample.truth for sample in clip.samples if sample.truth is not None):
            ignore = rle_from_mask(truth.ignore) if truth.ignore.any() else None
            frames[clip.expression].append(partial(_target, rle_from_mask(truth.mask), ignore))
    found: dict[str, ReadTarget] = {}
    for expression, targets in frames.items():
        for number, target in enumerate(targets):
            found[f"{expression}/{number:05d}" if len(targets) > 1 else expression] = target
    if not found:
        raise InvalidInput(f"{bag} holds no ground truth; make one with `reasonseg bag from-...`")
    return {**found, **lost}


def _target(mask: Rle, ignore: Rle | None) -> TargetMask:
    return TargetMask(mask_from_rle(mask), None if ignore is None else mask_from_rle(ignore))


def _refuse(reason: str) -> TargetMask:
    raise InvalidInput(reason)

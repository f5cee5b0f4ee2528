"""Training rows from bags with ground truth."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.bag_messages import read_bags
from reasonseg_ros.evaluation.reading.clips import Clip, Sample
from reasonseg_ros.faults import reason
from reasonseg_ros.images.files import write_image
from reasonseg_ros.segmenter.port import Features, Segmenter
from reasonseg_ros.training.mask_targets import MIN_SEGMENTED_IOU, object_masks, segmented_again, target_of
from reasonseg_ros.training.rows import TrainingRow, write_rows
from reasonseg_ros.types import BoolMask, RgbImage


@dataclass
class RowCounts:
    """Numbers of rows, targets and images written, and what was left out.

    Attributes:
        dropped_targets: targets that the segmenter does not reproduce.
        dropped_questions: questions that lost all their targets for this reason.
        left_out: a line for each unusable question.
    """

    rows: int = 0
    targets: int = 0
    images: int = 0
    dropped_targets: int = 0
    dropped_questions: int = 0
    left_out: list[str] = field(default_factory=list)


class _Images:
    """Writes image files named by their content, so that an image with several questions is written once."""

    def __init__(self, folder: Path, segmenter: Segmenter | None) -> None:
        self.folder, self.segmenter = folder, segmenter
        self.written: set[str] = set()
        self._newest: tuple[str, Features] | None = None

    def write(self, rgb: RgbImage) -> str:
        name = f"images/{hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).hexdigest()[:20]}.png"
        if name not in self.written:
            (self.folder / "images").mkdir(parents=True, exist_ok=True)
            write_image(self.folder / name, rgb)
            self.written.add(name)
        return name

    def reproduced(self, name: str, rgb: RgbImage, masks: Sequence[BoolMask], min_iou: float) -> list[bool]:
        if self.segmenter is None:
            return [True] * len(masks)
        if self._newest is None or self._newest[0] != name:
            self._newest = name, self.segmenter.encode(rgb)
        return segmented_again(self.segmenter, self._newest[1], masks, min_iou)


def write_bag_rows(
    bags: Sequence[Path],
    out: Path,
    points: int = 1,
    kinds: Sequence[str] = (),
    segmenter: Segmenter | None = None,
    min_iou: float = MIN_SEGMENTED_IOU,
) -> RowCounts:
    """Write a row for each question with ground truth in `bags`; for a video, one per question and image.

    Each target gets 1 or 2 `points`. With a `segmenter`, targets that it reproduces with an IoU below `min_iou` are
    dropped. Raises InvalidInput if a bag cannot be read, or if there is no row.
    """
    if points not in (1, 2):
        raise InvalidInput(f"{points} points a target; expected 1 or 2")
    if not 0 <= min_iou <= 1:
        raise InvalidInput(f"IoU of {min_iou}; expected 0 to 1")
    counts, rows, images = RowCounts(), [], _Images(out, segmenter)
    missing = set(kinds)
    for clip in read_bags(bags, kinds=kinds):
        missing -= {sample.kind for sample in clip.samples}
        counts.left_out += [f"{lost.sample_id or 'bag'}: {lost.reason}" for lost in clip.unreadable]
        for sample in clip.samples:
            try:
                row = _row(clip, sample, images, points, min_iou, counts)
            except InvalidInput as error:
                counts.left_out.append(f"{sample.sample_id}: {reason(error)}")
                continue
            if row is not None:
                rows.append(row)
    if not rows:
        why = f"; {counts.left_out[0]}" if counts.left_out else ""
        raise InvalidInput(f"no question with ground truth in {', '.join(map(str, bags))}{why}")
    counts.left_out += [f"the bags have no question of the kind {kind}" for kind in sorted(missing)]
    write_rows(out, rows)
    counts.rows, counts.images = len(rows), len({row.image for row in rows})
    counts.targets = sum(len(row.targets) for row in rows)
    return counts


def _row(
    clip: Clip, sample: Sample, images: _Images, points: int, min_iou: float, counts: RowCounts
) -> TrainingRow | None:
    """The row; None if all its targets were dropped, because a row without targets means that nothing fits."""
    if sample.truth is None:
        raise InvalidInput("it has no ground truth; black boxes get theirs from `reasonseg bag merge --truth`")
    masks = object_masks(sample.truth)
    rgb = sample.load_frame().rgb
    name = images.write(rgb)
    found = images.reproduced(name, rgb, masks, min_iou)
    counts.dropped_targets += found.count(False)
    kept = [mask for mask, is_found in zip(masks, found, strict=True) if is_found]
    if masks and not kept:
        counts.dropped_questions += 1
        return None
    targets = tuple(target_of(mask, points) for mask in kept)
    return TrainingRow(sample.sample_id, name, clip.question, targets, sample.truth.thought)

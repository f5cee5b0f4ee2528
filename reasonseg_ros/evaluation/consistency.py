"""Measures without ground truth whether answers stay consistent when the image is changed.

Each image is mirrored (with left and right exchanged in the question), cropped, rescaled, darkened and compressed. The
expected answer about the copy is the mask of the original's answer, changed in the same way. A low rate means that
answers depend on irrelevant properties of the image. The rate says nothing about whether answers are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from reasonseg_ros.evaluation.mirrored_words import mirrored_question
from reasonseg_ros.evaluation.scoring.bootstrap import intervals, ratios, resampled_sums
from reasonseg_ros.faults import reason
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.methods.port import Method
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.types import BoolMask, Frame, Query, RgbImage, Segmentation, Status

LEAST_IOU = 0.5
"""Masks that overlap less count as masks of different targets."""
CROPPED_SHARE = 0.08
"""Share of the width or height that is cut off at each side that the answer's mask does not reach."""
SCALE = 0.75
BRIGHTNESS = 0.7
JPEG_QUALITY = 40
OUTCOMES = ("consistent", "inconsistent", "skipped", "failed")
_NOT_JUDGED = (Status.CANCELLED, Status.REFUSED, Status.UNAVAILABLE, Status.OUT_OF_MEMORY, Status.FAILED)
"""Statuses for which the machine was at fault, not the answer."""


@dataclass(frozen=True, eq=False)
class Copy:
    """A changed image with its question, and the mask expected from the answer about the original."""

    rgb: RgbImage
    question: str
    mask: BoolMask


@dataclass(frozen=True)
class CopyResult:
    """The answer about one copy.

    Attributes:
        kind: key of `CHANGES`.
        outcome: `consistent`, `inconsistent`, `skipped` (there is no such copy) or `failed` (there is no answer).
        iou: with the expected mask; None if there is no mask to compare.
        status: of the answer; empty for a skipped copy.
        note: why it was skipped, or failed.
    """

    sample_id: str
    kind: str
    outcome: str
    iou: float | None = None
    status: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def mirrored(rgb: RgbImage, question: str, mask: BoolMask) -> Copy | str:
    exchanged = mirrored_question(question)
    if exchanged is None:
        return "whether the question names a side is unclear"
    return Copy(np.ascontiguousarray(rgb[:, ::-1]), exchanged, np.ascontiguousarray(mask[:, ::-1]))


def cropped(rgb: RgbImage, question: str, mask: BoolMask) -> Copy | str:
    height, width = mask.shape
    cut_x, cut_y = round(CROPPED_SHARE * width), round(CROPPED_SHARE * height)
    left, right = (0 if mask[:, part].any() else cut_x for part in (slice(0, cut_x), slice(width - cut_x, width)))
    top, bottom = (0 if mask[part].any() else cut_y for part in (slice(0, cut_y), slice(height - cut_y, height)))
    if not left + right + top + bottom:
        return "the answer reaches every side of the image"
    window = np.s_[top : height - bottom, left : width - right]
    return Copy(np.ascontiguousarray(rgb[window]), question, np.ascontiguousarray(mask[window]))


def rescaled(rgb: RgbImage, question: str, mask: BoolMask) -> Copy | str:
    size_wh = max(1, round(SCALE * rgb.shape[1])), max(1, round(SCALE * rgb.shape[0]))
    small = cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA)
    shares = cv2.resize(mask.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA)
    return Copy(small, question, shares > 0.5)


def darkened(rgb: RgbImage, question: str, mask: BoolMask) -> Copy | str:
    return Copy((rgb * BRIGHTNESS).round().astype(np.uint8), question, mask)


def compressed(rgb: RgbImage, question: str, mask: BoolMask) -> Copy | str:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return Copy(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), question, mask)


Change = Callable[[RgbImage, str, BoolMask], "Copy | str"]
"""Makes a copy, or says why there is none."""
CHANGES: dict[str, Change] = {
    "mirrored": mirrored,
    "cropped": cropped,
    "rescaled": rescaled,
    "darkened": darkened,
    "compressed": compressed,
}


def ask_about_copies(
    sample_id: str, frame: Frame, question: str, mask: BoolMask, method: Method, kinds: Iterable[str], call: Call = WAIT
) -> Iterator[CopyResult]:
    """One result for each kind. `mask` is that of the answer about the original; empty if nothing fits."""
    for kind in kinds:
        copy = CHANGES[kind](frame.rgb, question, mask)
        if isinstance(copy, str):
            yield CopyResult(sample_id, kind, "skipped", note=copy)
            continue
        try:
            found = method.answer(Frame(copy.rgb), Query(copy.question, f"{sample_id} {kind}"), call)
        except Exception as error:  # one failed copy must not stop the others
            yield CopyResult(sample_id, kind, "failed", status=str(Status.FAILED), note=reason(error))
            continue
        yield judged_copy(sample_id, kind, copy, found)


def judged_copy(sample_id: str, kind: str, copy: Copy, found: Segmentation) -> CopyResult:
    """Compare the answer about a copy with the expected mask."""
    answer = found.answer
    status = str(answer.status)
    if answer.status in _NOT_JUDGED:
        return CopyResult(sample_id, kind, "failed", status=status, note=answer.error)
    if not answer.status.has_mask:
        return CopyResult(sample_id, kind, "inconsistent", status=status, note=answer.error)
    iou = mask_iou(copy.mask, found.mask)
    outcome = "consistent" if iou >= LEAST_IOU else "inconsistent"
    return CopyResult(sample_id, kind, outcome, round(iou, 4), status)


def consistency_summary(results: Sequence[CopyResult], without_answer: int = 0) -> dict[str, Any]:
    """Rates by kind and overall, each with a bootstrap interval over the samples, for summary.json.

    `without_answer` counts originals that were not answered, so that their copies cannot be compared.
    """
    samples = sorted({result.sample_id for result in results})
    groups = {kind: [one for one in results if one.kind == kind] for kind in CHANGES}
    columns = [column for kind in (None, *CHANGES) for column in _columns(results, samples, kind)]
    sums = resampled_sums(np.array(columns, np.float64).reshape(len(columns), len(samples)).T)
    ends = list(intervals(ratios(sums[:, ::2], sums[:, 1::2])))
    return {
        "least_iou": LEAST_IOU,
        "questions": len(samples),
        "without_answer": without_answer,
        "all": _group(results, ends[0]),
        "by_kind": {kind: _group(groups[kind], interval) for kind, interval in zip(CHANGES, ends[1:], strict=True)},
    }


def _columns(results: Sequence[CopyResult], samples: Sequence[str], kind: str | None) -> tuple[list[int], list[int]]:
    """For each sample, how many copies are consistent and how many were judged."""
    place = {sample_id: index for index, sample_id in enumerate(samples)}
    consistent, judged = [0] * len(samples), [0] * len(samples)
    for one in results:
        if one.outcome in ("consistent", "inconsistent") and kind in (None, one.kind):
            consistent[place[one.sample_id]] += one.outcome == "consistent"
            judged[place[one.sample_id]] += 1
    return consistent, judged


def _group(results: Sequence[CopyResult], interval: tuple[float, float] | None) -> dict[str, Any]:
    counts = {name: sum(one.outcome == name for one in results) for name in OUTCOMES}
    judged = counts["consistent"] + counts["inconsistent"]
    ious = [one.iou for one in results if one.iou is not None]
    return {
        **counts,
        "judged": judged,
        "rate": counts["consistent"] / judged if judged else None,
        "interval_95": interval,
        "mean_iou": float(np.mean(ious)) if ious else None,
    }

"""The demo's report: a printed panel per answer, the total, and summary.json."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.types import BoolMask, Status
from reasonseg_ros.versions import versions

MIN_MOVING_IOU = 0.5


@dataclass(frozen=True)
class Result:
    """One question about a still image.

    Attributes:
        boxes: x1, y1, x2, y2 of each region, pixels.
        seconds: from the question's arrival at the node to its answer.
        boxes_3d: see `box_in_space`.
        confidence: None if the reasoner has no calibration.
    """

    question: str
    kind: str
    thought: str
    status: str
    boxes: list[list[float]]
    iou: float
    seconds: float
    mask_scores: list[float]
    error: str
    stamp_ns: int
    overlay: str
    boxes_3d: list[dict[str, Any]] = field(default_factory=list)
    confidence: float | None = None

    @property
    def answered(self) -> bool:
        """Whether the question has an answer. An unsure one counts, with an IoU of 0."""
        return Status(self.status).is_answer or self.is_unsure

    @property
    def is_unsure(self) -> bool:
        return self.status == Status.UNSURE


@dataclass(frozen=True)
class Moving:
    """A question about a moving scene.

    Attributes:
        mode: `track`: tracked from the first image on; `history`: about what happened.
        frames: number of images shown.
        masks: number of images with published masks. The node skips images that arrive while it is busy.
        iou: mean IoU over the images with masks.
        has_to_be_refused: whether the method, which looks at one image at a time, must refuse the mode.
    """

    question: str
    mode: str
    thought: str
    status: str
    iou: float
    frames: int
    masks: int
    seconds: float
    error: str
    has_to_be_refused: bool = False

    @property
    def answered(self) -> bool:
        return Status(self.status).is_answer

    @property
    def is_right(self) -> bool:
        if self.has_to_be_refused:
            return self.status == Status.REFUSED
        return self.answered and self.iou >= MIN_MOVING_IOU


def box_in_space(answer: Any, region: Any) -> dict[str, Any]:
    """Centre and side lengths of a region's 3D box in metres, and the name of its frame."""
    place, size = region.box_3d.pose.position, region.box_3d.size
    return {
        "frame": answer.frame_3d,
        "middle_m": [round(value, 4) for value in (place.x, place.y, place.z)],
        "size_m": [round(value, 4) for value in (size.x, size.y, size.z)],
    }


def answer_mask(message: Any) -> BoolMask:
    """Union of the regions of a Segmentation message, bool [H, W]."""
    mask = np.zeros((message.height, message.width), bool)
    for region in message.regions:
        mask |= decode_mask(region.mask)
    return mask


def answer_iou(message: Any, truth: BoolMask) -> float:
    """IoU of the answer with `truth`, bool [H, W]; 1 if both are empty, 0 if the question was not answered."""
    if not Status(message.status).is_answer:
        return 0.0
    return mask_iou(answer_mask(message), truth)


def giou(results: list[Result]) -> float:
    """Mean IoU over the questions; 0 without any."""
    return float(np.mean([result.iou for result in results])) if results else 0.0


def passed(results: list[Result], moving: list[Moving], min_giou: float) -> bool:
    still = bool(results) and all(result.answered for result in results) and giou(results) >= min_giou
    return still and all(one.is_right for one in moving)


def moving_panel(found: Moving) -> Panel:
    style = "green" if found.is_right else "red"
    body = Text.assemble(("question ", "dim"), (found.question, "bold"), ("\nthought  ", "dim"), found.thought)
    body.append("\nstatus   ", "dim").append(found.status, style)
    if found.error:
        body.append(f" ({found.error})")
    if found.has_to_be_refused:
        body.append("\nexpected ", "dim").append(str(Status.REFUSED), style)
        body.append(", as this method looks at one image at a time")
        return Panel(body, title=Text(f"moving scene, {found.mode}"), title_align="left")
    body.append("\nIoU      ", "dim").append(f"{found.iou:.2f}", style)
    body.append(f" over {found.masks} masks, {found.frames} images shown; answered in {found.seconds:.1f} s")
    return Panel(body, title=Text(f"moving scene, {found.mode}"), title_align="left")


def panel(number: int, total: int, kind: str, question: str, thought: str, result: Result | None = None) -> Panel:
    """The panel of a question. Without a result, `thought` is the text so far."""
    body = Text.assemble(("question ", "dim"), (question, "bold"), ("\nthought  ", "dim"), thought)
    if result is not None:
        style = "green" if result.answered and result.iou >= 0.5 else "red"
        body.append("\nstatus   ", "dim").append(result.status, style)
        if result.confidence is not None:
            body.append(f", confidence {result.confidence:.2f}")
        if result.error:
            body.append(f" ({result.error})")
        for box, score in zip(result.boxes, result.mask_scores, strict=True):
            body.append("\nbox      ", "dim").append(f"[{_corners(box)}]  mask score {score:.2f}")
        for box_3d in result.boxes_3d:
            sides, middle = (", ".join(f"{value:.3f}" for value in box_3d[name]) for name in ("size_m", "middle_m"))
            body.append("\nin space ", "dim").append(f"{sides} m around ({middle}) in {box_3d['frame']}")
        body.append("\nIoU      ", "dim").append(f"{result.iou:.2f}", style)
        body.append(f" with the ground truth, {result.seconds:.1f} s")
    return Panel(body, title=Text(f"{number}/{total} {kind}"), title_align="left")


def _corners(box_xyxy: Sequence[float]) -> str:
    return ", ".join(f"{value:.0f}" for value in box_xyxy)


def unsure_panel(question: str, answer: Any) -> Panel:
    """The panel of a question that cannot be answered from a picture."""
    body = Text.assemble(("question ", "dim"), (question, "bold"), ("\nthought  ", "dim"), answer.thought)
    body.append("\nstatus   ", "dim").append(answer.status, "red" if answer.status == Status.OK else "green")
    if answer.has_confidence:
        body.append(f", confidence {answer.confidence:.2f}")
    if answer.error:
        body.append(f" ({answer.error})")
    if answer.status == Status.OK and not answer.has_confidence:
        body.append("\nwrong    ", "dim").append(
            "no picture shows that, and this method has no calibrated confidence by which it could say so"
        )
    if answer.has_alternative:
        boxes = [[region.box.x1, region.box.y1, region.box.x2, region.box.y2] for region in answer.alternative]
        second = ", ".join(f"[{_corners(box)}]" for box in boxes) or "nothing"
        body.append("\nor       ", "dim").append(f"{second}, the second-best candidate")
    return Panel(body, title=Text("a question that no picture answers"), title_align="left")


def print_total(console: Console, results: list[Result], moving: list[Moving], min_giou: float, out: Path) -> None:
    answered, unsure = sum(result.answered for result in results), sum(result.is_unsure for result in results)
    doubt = f" ({unsure} unsure)" if unsure else ""
    verdict = Text("passed", "green") if passed(results, moving, min_giou) else Text("failed", "red")
    needed = f"gIoU {giou(results):.3f} (needed: {min_giou:.2f})"
    console.print(f"{answered} of {len(results)} questions answered{doubt}, {needed}")
    film = "film, " if moving else ""
    console.print(verdict.append(f"; summary, overlays, {film}and result bag are in {out}", "default"))


def write_summary(
    path: Path, results: list[Result], moving: list[Moving], min_giou: float, models: dict[str, str]
) -> None:
    summary = {
        "giou": round(giou(results), 4),
        "min_giou": min_giou,
        "passed": passed(results, moving, min_giou),
        "answers": [asdict(result) for result in results],
        "moving": [asdict(one) for one in moving],
        "models": models,
        "versions": versions(),
        "processors": os.cpu_count(),
    }
    path.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

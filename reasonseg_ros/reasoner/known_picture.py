"""Checks with a known picture whether a reasoner gives boxes in the right coordinates.

Servers and engines for the same checkpoint answer in different coordinates: pixels of the image, pixels of the resized
image, or thousandths. Wrong coordinates look like an answer, so only a comparison with known boxes detects them.

Published checkpoints are asked about drawn shapes. The card of a model that knows other objects names its own picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ModelError, ReasonSegError
from reasonseg_ros.files.bounded import read_text
from reasonseg_ros.files.strict_yaml import parse_yaml
from reasonseg_ros.geometry import box_iou
from reasonseg_ros.images.files import read_image
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.plain_text import shortened
from reasonseg_ros.reasoner.call import Call, never
from reasonseg_ros.reasoner.dialects.candidates import candidates
from reasonseg_ros.reasoner.dialects.json_text import find_values
from reasonseg_ros.reasoner.dialects.parsing import take_apart
from reasonseg_ros.reasoner.image_size import RELATIVE_WH, SQUASHED_WH, resized_wh
from reasonseg_ros.reasoner.image_size import answer_wh as expected_wh
from reasonseg_ros.reasoner.loading import with_dialect
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.types import Answer, FloatArray, Frame, RgbImage, Status

LEAST_IOU = 0.5
"""A box in other coordinates misses the shape, because the shapes are small and far from the corner at 0, 0."""
NO_PICTURE = "none"
_SIZE_WH = (640, 480)
_JUDGED = (Status.OK, Status.NO_TARGET, Status.UNPARSABLE, Status.TRUNCATED, Status.CONTRADICTION)
"""Statuses that come from the model; others mean that it was not asked, or was stopped."""
_BAD_PICTURE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError, ReasonSegError,
)  # fmt: skip
_LIGHT_RGB = (236, 234, 228)


@dataclass(frozen=True, eq=False)
class Target:
    """A question, and the expected box in pixels of the picture."""

    question: str
    box_xyxy: FloatArray


@dataclass(frozen=True, eq=False)
class Found:
    """The result for a target: boxes in pixels of the picture, and the IoU of the best."""

    target: Target
    answer: Answer

    @property
    def boxes_xyxy(self) -> list[FloatArray]:
        return [grounding.box_xyxy for grounding in self.answer.groundings]

    @property
    def iou(self) -> float:
        return max((box_iou(box, self.target.box_xyxy) for box in self.boxes_xyxy), default=0.0)

    @property
    def is_right(self) -> bool:
        return self.answer.status is Status.OK and self.iou >= LEAST_IOU

    def __str__(self) -> str:
        expected = f"{self.target.question}: expected {_shown(self.target.box_xyxy)}"
        if not self.answer.groundings:
            reason = shortened(self.answer.error, 120) or "nothing fits"
            return f"{expected}, received no box ({self.answer.status}: {reason})"
        return f"{expected}, received {', '.join(map(_shown, self.boxes_xyxy[:3]))} (IoU {self.iou:.2f})"


@dataclass(frozen=True, eq=False)
class PictureResult:
    """`state`: right, wrong, unanswered (no server, or a limit was hit), or skipped (the card has no picture)."""

    state: str
    text: str
    found: tuple[Found, ...] = ()

    @property
    def is_right(self) -> bool:
        return self.state in ("right", "skipped")


def check_configured(reasoner: Reasoner, config: ReasonerConfig) -> PictureResult:
    """`check_picture` with the card of these settings."""
    return check_picture(reasoner, with_dialect(load_card(config.model, "reasoner"), config.dialect), config)


def check_picture(
    reasoner: Reasoner, card: ModelCard, config: ReasonerConfig, cancelled: Callable[[], bool] = never
) -> PictureResult:
    """Ask about each known target.

    The result's `text` is one line: expected boxes, received boxes, and the coordinates that the latter seem to be in.

    Raises ModelError if the card's own picture cannot be read.
    """
    if card.known_picture == NO_PICTURE:
        return PictureResult("skipped", f"not checked: the model card {card.name} has no known picture")
    rgb, targets = read_known_picture(Path(card.known_picture)) if card.known_picture else drawn_picture()
    frame = Frame(rgb)
    found = []
    for target in targets:
        answer = reasoner.answer(frame, target.question, Call(cancelled=cancelled))
        found.append(Found(target, answer))
        if answer.status not in _JUDGED:
            text = f"not checked: the known picture got no answer ({answer.status}: {answer.error})"
            return PictureResult("unanswered", text, tuple(found))
    right = sum(one.is_right for one in found)
    if right == len(found):
        return PictureResult("right", f"{right} of {right} boxes of the known picture are right", tuple(found))
    wrong = "; ".join(str(one) for one in found if not one.is_right)
    text = f"{len(found) - right} of {len(found)} boxes of the known picture are wrong: {wrong}"
    return PictureResult("wrong", f"{text}; {_advice(found, card, config, frame.size_wh)}", tuple(found))


def drawn_picture() -> tuple[RgbImage, list[Target]]:
    """640x480: a red circle, a blue square and a green triangle on a light background."""
    rgb = np.full((_SIZE_WH[1], _SIZE_WH[0], 3), _LIGHT_RGB, np.uint8)
    cv2.circle(rgb, (510, 110), 60, (214, 40, 40), cv2.FILLED, cv2.LINE_AA)
    cv2.rectangle(rgb, (70, 300), (189, 419), (38, 84, 200), cv2.FILLED)
    cv2.fillPoly(rgb, [np.array([(450, 290), (380, 430), (520, 430)], np.int32)], (40, 160, 70), cv2.LINE_AA)
    boxes = {"the red circle": (450, 50, 571, 171), "the blue square": (70, 300, 190, 420),
             "the green triangle": (380, 290, 521, 431)}  # fmt: skip
    return rgb, [Target(question, np.array(box, np.float32)) for question, box in boxes.items()]


def read_known_picture(path: Path) -> tuple[RgbImage, list[Target]]:
    """A card's own picture: YAML with `image`, a file beside it, and `targets`, each a `question` and a `box_xyxy`."""
    try:
        values = parse_yaml(read_text(path))
        targets = [_target(item) for item in values["targets"]]
        rgb = read_image(path.parent / values["image"])
        if not targets:
            raise ValueError("no targets")
        return rgb, targets
    except _BAD_PICTURE as error:
        raise ModelError(f"known picture {path} cannot be used: {type(error).__name__}: {error}") from error


def _target(item: Any) -> Target:
    box = np.array(item["box_xyxy"], np.float32)
    if box.shape != (4,) or not (np.isfinite(box).all() and (box[2:] > box[:2]).all()):
        raise ValueError(f"box_xyxy = {item['box_xyxy']}; expected [x1, y1, x2, y2] in pixels")
    return Target(str(item["question"]), box)


def _advice(found: list[Found], card: ModelCard, config: ReasonerConfig, size_wh: tuple[int, int]) -> str:
    seen_wh = card.image_size_wh or resized_wh(
        size_wh, card.dialect, config.min_pixels or card.min_pixels, config.max_pixels or card.max_pixels
    )
    expected = _named(expected_wh(card, seen_wh), card.coordinates == "relative_1000")
    looks = looks_like(found, card, size_wh, seen_wh)
    if not looks:
        return f"the card expects {expected}; check the checkpoint, its model card and prompt, or try another server"
    remedy = "use a model card whose coordinates fit, or another server or engine"
    return f"the numbers look like {looks}, but the card expects {expected}; {remedy}"


def looks_like(found: list[Found], card: ModelCard, size_wh: tuple[int, int], seen_wh: tuple[int, int]) -> str:
    """Names the coordinates in which the boxes of all targets would be right; empty if there are none."""
    received = [_raw_boxes(one.answer) for one in found]
    if not all(received):
        return ""
    spaces = {"thousandths of width and height (0-1000)": RELATIVE_WH, "shares of width and height (0-1)": (1, 1)}
    spaces["percent of width and height (0-100)"] = (100, 100)
    for wh in (size_wh, seen_wh, resized_wh(size_wh, "qwen2.5-vl"), resized_wh(size_wh, "qwen3-vl"), SQUASHED_WH):
        if wh not in spaces.values():
            spaces[_named(wh, False)] = wh
    judged: list[tuple[float, str]] = []
    for name, wh in spaces.items():
        for form, order in _FORMS:
            expected = [np.array(_sorted(*order(*_scaled(one.target.box_xyxy, size_wh, wh)))) for one in found]
            judged.append((_agreement(expected, received), f"{name}{form}"))
    # Of nearly equal IoUs, max takes the first.
    best, name = max(judged, key=lambda one: round(one[0], 2))
    if best >= LEAST_IOU:
        own = _named(expected_wh(card, seen_wh), card.coordinates == "relative_1000")
        return "" if name == own else name
    return _another_size(found, received, size_wh)


def _another_size(found: list[Found], received: list[list[FloatArray]], size_wh: tuple[int, int]) -> str:
    """Pixels of an image of unknown size, which is estimated from the boxes."""
    pairs = [(one.target.box_xyxy, boxes[0]) for one, boxes in zip(found, received, strict=True)]
    ratios = np.array([box / np.maximum(truth, 1) for truth, box in pairs]).reshape(-1, 2)
    scale_x, scale_y = np.median(ratios, axis=0).tolist()
    wh = (round(size_wh[0] * scale_x), round(size_wh[1] * scale_y))
    expected = [np.array(_scaled(one.target.box_xyxy, size_wh, wh)) for one in found]
    return f"pixels of an image of about {wh[0]}x{wh[1]}" if _agreement(expected, received) >= LEAST_IOU else ""


def _agreement(expected: list[FloatArray], received: list[list[FloatArray]]) -> float:
    """Mean IoU; 0 if any target has no box with at least LEAST_IOU."""
    ious = [max(box_iou(box, one) for box in boxes) for one, boxes in zip(expected, received, strict=True)]
    return float(np.mean(ious)) if min(ious) >= LEAST_IOU else 0.0


def _raw_boxes(answer: Answer) -> list[FloatArray]:
    """The numbers of an answer's boxes as they are written, each pair sorted."""
    values = [value for text in take_apart(answer.raw_text).answers for value in find_values(text)[0]]
    items = [item for value in values for item in candidates(value)]
    boxes = [number for item in items for key, number in item.items() if "box" in key and _is_box(number)]
    return [np.array(_sorted(*box), np.float32) for box in boxes]


def _is_box(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    return all(type(number) in (int, float) and abs(number) < 1e6 for number in value)


def _scaled(box_xyxy: FloatArray, from_wh: tuple[int, int], to_wh: tuple[int, int]) -> list[float]:
    return [number * to_wh[index % 2] / from_wh[index % 2] for index, number in enumerate(box_xyxy.tolist())]


def _sorted(a: float, b: float, c: float, d: float) -> tuple[float, float, float, float]:
    return min(a, c), min(b, d), max(a, c), max(b, d)


_FORMS: tuple[tuple[str, Callable[[float, float, float, float], tuple[float, float, float, float]]], ...] = (
    ("", lambda x1, y1, x2, y2: (x1, y1, x2, y2)),
    (", x and y swapped", lambda x1, y1, x2, y2: (y1, x1, y2, x2)),
    (", as x, y, width and height", lambda x1, y1, x2, y2: (x1, y1, x2 - x1, y2 - y1)),
    (", as centre, width and height", lambda x1, y1, x2, y2: ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)),
)


def _named(wh: tuple[int, int], is_relative: bool) -> str:
    if is_relative:
        return "thousandths of width and height (0-1000)"
    return f"pixels of the image at {wh[0]}x{wh[1]}"


def _shown(box: FloatArray) -> str:
    return "[" + ", ".join(f"{number:.0f}" for number in box.tolist()) + "]"

"""Ground truth made in the console: a bag for `reasonseg evaluate`, and the node's score on it.

Every saved question has its own copy of the image, calibration and depth, stamped with the time of saving. Replayed
bags repeat their stamps, and several cameras may share one; the new stamps keep their ground truths apart. The node's
answer is saved beside the truth.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from reasonseg_ros import bags
from reasonseg_ros.bags.growing import GrowingBag
from reasonseg_ros.bags.topics import (
    CAMERA_INFO_TOPIC,
    COMPRESSED_IMAGE_TOPIC,
    DEPTH_TOPIC,
    GROUND_TRUTH_TOPIC,
    IMAGE_TOPIC,
    QUERY_TOPIC,
)
from reasonseg_ros.console.image_cache import RawMessage, Shot
from reasonseg_ros.console.pictures import jpeg_of, with_mask
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import innermost_xy, mask_box, mask_iou
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.images.messages import frame_from_message
from reasonseg_ros.types import BoolMask, Query, Status

PREFIX = "truth"
ANSWER_TOPIC = "/reasonseg/segmentation"
ANSWER_KIND = f"{bags.PACKAGE}/msg/Segmentation"
STEP_NS = 1_000_000


@dataclass(frozen=True, eq=False)
class SavedTruth:
    """One question with its ground truth.

    Attributes:
        name: name of its part of the bag.
        status: status of the node's answer; empty if the question was not asked.
        iou: IoU of the node's answer with the truth; 0 if it had no mask, None if the question was not asked.
        is_empty: whether nothing fits the question.
        jpeg: the image with the truth tinted.
    """

    name: str
    question: str
    status: str
    iou: float | None
    intersection_px: int
    union_px: int
    is_empty: bool
    jpeg: bytes


@dataclass(frozen=True, eq=False)
class NewTruth:
    """A question and its ground truth, to be saved.

    Attributes:
        masks: bool [H, W] of each target, in the image's size; empty if nothing fits.
        answer: the node's serialised Segmentation and its header's stamp; None if the question was not asked.
        thought: the node's thought if it was marked as right, else empty.
    """

    question: str
    shot: Shot
    size_wh: tuple[int, int]
    frame_id: str
    masks: Sequence[BoolMask]
    answer: RawMessage | None = None
    thought: str = ""


class TruthBag:
    """The saved questions in the order of saving. For one thread at a time."""

    def __init__(self, folder: Path, thumbnail_px: int) -> None:
        """Raises InvalidInput if the folder holds other files, or its bag cannot be read."""
        self._bag = GrowingBag(folder, PREFIX)
        self._thumbnail_px = thumbnail_px
        self._undo: list[tuple[str, str]] = []
        self.saved = {name: self._read(name) for name in self._bag.parts}

    @property
    def folder(self) -> Path:
        return self._bag.folder

    def save(self, truth: NewTruth) -> SavedTruth:
        """Append a truth to the bag. Raises InvalidInput if it cannot be evaluated, OSError if it cannot be written."""
        if not truth.question.strip():
            raise InvalidInput("there is no question; write the question that this mask answers")
        image_topic = _image_topic(truth.shot.image.kind)
        others = {topic for part in self._bag.parts.values() for topic, _ in part.counts}
        other_topic = COMPRESSED_IMAGE_TOPIC if image_topic == IMAGE_TOPIC else IMAGE_TOPIC
        if other_topic in others:
            raise InvalidInput(f"{self.folder} holds images on {other_topic}; save into another bag with --truth")
        last_ns = max((part.last_ns for part in self._bag.parts.values()), default=0)
        stamp_ns = max(time.time_ns(), last_ns + STEP_NS)
        name = self._bag.add(partial(_write, truth, image_topic, self._bag.next_name(), stamp_ns))
        self.saved[name] = self._read(name)
        self._undo.append(("save", name))
        return self.saved[name]

    def delete(self, name: str) -> None:
        """Remove a truth from the bag. Raises InvalidInput if there is none with that name."""
        self._bag.remove(name)
        del self.saved[name]
        self._undo.append(("delete", name))

    def undo(self) -> str:
        """Undo the last `save` or `delete` of this process; returns a description. Raises InvalidInput without any."""
        if not self._undo:
            raise InvalidInput("nothing to undo since the console started")
        done, name = self._undo.pop()
        if done == "save":
            self._bag.remove(name)
            del self.saved[name]
            return f"{name} is no longer saved"
        self._bag.restore(name)
        self.saved = {key: self.saved[key] if key in self.saved else self._read(key) for key in self._bag.parts}
        return f"{name} is saved again"

    def score(self) -> dict[str, Any]:
        """`saved`: truths; `asked`: those with an answer of the node; `giou` and `ciou` of these, None without any.

        As in `reasonseg evaluate`: gIoU is the mean IoU. An answer without a mask counts 0, two empty masks count 1.
        Source: Lai et al., "LISA: Reasoning Segmentation via Large Language Model", CVPR 2024.
        """
        asked = [saved for saved in self.saved.values() if saved.iou is not None]
        union_px = sum(saved.union_px for saved in asked)
        return {
            "saved": len(self.saved),
            "asked": len(asked),
            "giou": sum(saved.iou or 0.0 for saved in asked) / len(asked) if asked else None,
            "ciou": sum(saved.intersection_px for saved in asked) / union_px if union_px else None,
        }

    def _read(self, name: str) -> SavedTruth:
        found: dict[str, Any] = {}
        with bags.BagReader(self._bag.path(name)) as reader:
            for topic, _, message in reader.messages():
                found[topic] = message
        truth = found.get(GROUND_TRUTH_TOPIC)
        image = found.get(IMAGE_TOPIC) or found.get(COMPRESSED_IMAGE_TOPIC)
        if truth is None or image is None:
            raise InvalidInput(f"{self._bag.path(name)} holds no ground truth with its image; move it away")
        mask = decode_mask(truth.mask)
        answer = found.get(ANSWER_TOPIC)
        predicted = None if answer is None else answered_mask(answer, mask.shape)
        found_mask = np.zeros_like(mask) if predicted is None else predicted
        return SavedTruth(
            name=name,
            question=truth.question,
            status="" if answer is None else answer.status,
            iou=None if answer is None else 0.0 if predicted is None else mask_iou(predicted, mask),
            intersection_px=int(np.count_nonzero(found_mask & mask)),
            union_px=int(np.count_nonzero(found_mask | mask)),
            is_empty=not mask.any(),
            jpeg=jpeg_of(with_mask(frame_from_message(image).rgb, mask), self._thumbnail_px),
        )


def answered_mask(answer: Any, shape: tuple[int, ...]) -> BoolMask | None:
    """Union of the regions of a Segmentation, bool [H, W]; None if its status has no mask.

    Raises InvalidInput if a mask is damaged or does not have that `shape`.
    """
    if not Status(answer.status).has_mask:
        return None
    union = np.zeros(shape, bool)
    for region in answer.regions:
        mask = decode_mask(region.mask)
        if mask.shape != union.shape:
            raise InvalidInput(f"the mask has shape {mask.shape}, the image {tuple(shape)}; expected equal shapes")
        union |= mask
    return union


def _image_topic(kind: str) -> str:
    return COMPRESSED_IMAGE_TOPIC if kind.endswith("CompressedImage") else IMAGE_TOPIC


def _write(truth: NewTruth, image_topic: str, query_id: str, stamp_ns: int, bag: bags.BagWriter) -> None:
    shot = truth.shot
    depth_topic = f"{DEPTH_TOPIC}/compressedDepth" if _is_compressed_depth(shot) else DEPTH_TOPIC
    for topic, message in ((image_topic, shot.image), (CAMERA_INFO_TOPIC, shot.camera_info), (depth_topic, shot.depth)):
        if message is not None:
            bag.write_raw(topic, message.kind, bags.restamped(message.data, stamp_ns), stamp_ns)
    query = Query(truth.question, query_id)
    mask = np.zeros(truth.size_wh[::-1], bool)
    for one in truth.masks:
        mask |= one
    boxes = [(one, box) for one in truth.masks if (box := mask_box(one)) is not None]
    bag.write(QUERY_TOPIC, bags.query_message(query), stamp_ns)
    bag.write(
        GROUND_TRUTH_TOPIC,
        bags.ground_truth_message(
            query, mask, stamp_ns, truth.frame_id, thought=truth.thought, is_sentence=query.text.endswith("?"),
            boxes_xyxy=[box.tolist() for _, box in boxes], points_xy=[innermost_xy(one).tolist() for one, _ in boxes],
        ),
        stamp_ns,
    )  # fmt: skip
    if truth.answer is not None:
        bag.write_raw(ANSWER_TOPIC, ANSWER_KIND, bags.restamped(truth.answer.data, stamp_ns), stamp_ns)


def _is_compressed_depth(shot: Shot) -> bool:
    return shot.depth is not None and shot.depth.kind.endswith("CompressedImage")

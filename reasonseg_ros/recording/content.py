"""The content of a black box, as values and as one JSON text beside the images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.strict_json import json_text, parse_json
from reasonseg_ros.images.run_lengths import mask_from_rle, rle_from_mask
from reasonseg_ros.recording.space_values import space_values, with_space
from reasonseg_ros.types import (
    Answer,
    FloatArray,
    Frame,
    Grounding,
    Mode,
    Query,
    Region,
    RgbImage,
    Segmentation,
    Status,
)

VERSION = 1
"""Version of the JSON text."""
QUESTION, HISTORY, PROMPT = "question", "history", "prompt"
"""Kinds of requests to the method: a question about one image, about several, or masks for boxes and points."""
_TEXTS = ("thought", "raw_text", "error", "dialect", "model")
_LIKELIHOODS = ("entropy_nats", "confidence")
_SHARES, _COUNTS = ("mask_score", "box_iou", "points_inside"), ("holes", "fragments")


class SentMessage(NamedTuple):
    """A message of this package that the node published: its type's name, its topic, and a function for its bytes."""

    message_type: str
    topic: str
    serialise: Callable[[], bytes]


@dataclass(frozen=True, eq=False)
class BlackBox:
    """One answer of a node.

    Attributes:
        asked: QUESTION, HISTORY or PROMPT; empty if the method was not asked, so the answer cannot be repeated.
        frames: the images for the method, oldest first. Only the one that was answered has depth, lens and pose.
        segmentation: the method's answer on one of `frames`, before propagation; None if it was not asked.
        prompts: the groundings of a PROMPT.
        max_new_tokens, time_limit_s: limits of the question; 0 is the configured limit.
        status, error: as published, after propagation.
        settings: every parameter of the node by its dotted name.
        conditions: versions, machine and models (`recording.conditions`).
        recorded: time in UTC (ISO 8601).
        note: why it was flagged; empty if it was not.
    """

    query: Query
    asked: str
    frames: tuple[Frame, ...]
    segmentation: Segmentation | None
    status: str
    error: str = ""
    prompts: tuple[Grounding, ...] = ()
    max_new_tokens: int = 0
    time_limit_s: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    recorded: str = ""
    node: str = ""
    is_flagged: bool = False
    note: str = ""


def rgb_sha256(rgb: RgbImage) -> str:
    """Digest of an image's size and pixels."""
    return hashlib.sha256(repr(rgb.shape).encode() + np.ascontiguousarray(rgb).tobytes()).hexdigest()


def to_text(box: BlackBox) -> str:
    """The JSON text. Images and depth are given by their digests. Raises InvalidInput if a number is not finite."""
    digests = [rgb_sha256(frame.rgb) for frame in box.frames]
    found, query = box.segmentation, box.query
    return json_text(
        {
            "version": VERSION,
            "query": {"text": query.text, "query_id": query.query_id, "mode": str(query.mode), "frames": query.frames},
            "asked": box.asked,
            "images": [
                {
                    "stamp_ns": frame.stamp_ns,
                    "frame_id": frame.frame_id,
                    "rgb_sha256": digest,
                    **space_values(frame),
                }
                for frame, digest in zip(box.frames, digests, strict=True)
            ],
            "answer": None if found is None else _answer_values(found, digests.index(rgb_sha256(found.frame.rgb))),
            "prompts": [_grounding_values(grounding) for grounding in box.prompts],
            "limits": {"max_new_tokens": box.max_new_tokens, "time_limit_s": box.time_limit_s},
            "published": {"status": box.status, "error": box.error},
            "settings": dict(box.settings),
            "conditions": dict(box.conditions),
            "recorded": box.recorded,
            "node": box.node,
            "is_flagged": box.is_flagged,
            "note": box.note,
        },
        compact=True,
    )


def digests_in(text: str) -> list[str]:
    """Digests of the images in a JSON text. Raises InvalidInput."""
    return [str(value) for value in _of_images(text, "rgb_sha256")]


def stamps_in(text: str) -> list[int]:
    """Stamps of the images in a JSON text, in nanoseconds. Raises InvalidInput."""
    try:
        return [int(value) for value in _of_images(text, "stamp_ns")]
    except (TypeError, ValueError) as error:
        raise _damaged(error) from error


def _of_images(text: str, name: str) -> list[Any]:
    try:
        return [image[name] for image in _version_checked(text)["images"]]
    except (KeyError, TypeError) as error:
        raise _damaged(error) from error


def from_text(text: str, images: Mapping[str, RgbImage], depths: Mapping[str, FloatArray] | None = None) -> BlackBox:
    """The inverse of `to_text`, with images and depth by their digests. Raises InvalidInput with the reason."""
    values = _version_checked(text)
    try:
        frames = tuple(_frame(item, images, depths or {}) for item in values["images"])
        asked, query, published = str(values["asked"]), values["query"], values["published"]
        if asked not in ("", QUESTION, HISTORY, PROMPT):
            raise ValueError(f"asked = {asked!r:.80}")
        wanted = Query(str(query["text"]), str(query["query_id"]), Mode(query["mode"]), int(query["frames"]))
        found = values["answer"]
        if (found is None) != (not asked) or (asked and not frames):
            raise ValueError("what was asked, the images and the answer do not fit together")
        return BlackBox(
            wanted,
            asked,
            frames,
            None if found is None else _segmentation(found, frames, wanted),
            str(Status(published["status"])),
            str(published["error"]),
            tuple(_grounding(item) for item in values["prompts"]),
            int(values["limits"]["max_new_tokens"]),
            float(values["limits"]["time_limit_s"]),
            _mapping(values["settings"]),
            _mapping(values["conditions"]),
            str(values["recorded"]),
            str(values["node"]),
            bool(values["is_flagged"]),
            str(values["note"]),
        )
    except InvalidInput:
        raise
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> InvalidInput:
    stated = f"no {error}" if isinstance(error, KeyError) else str(error)
    return InvalidInput(f"its description of an answer is damaged ({stated}); record it again")


def _version_checked(text: str) -> Any:
    values = parse_json(text)
    version = values.get("version") if isinstance(values, dict) else None
    if version != VERSION:
        raise InvalidInput(f"its description has version {version!r:.40}; this reasonseg reads version {VERSION}")
    return values


def _mapping(values: Any) -> Mapping[str, Any]:
    if not isinstance(values, dict):
        raise TypeError(f"{values!r:.80} is no object")
    return values


def _frame(item: Any, images: Mapping[str, RgbImage], depths: Mapping[str, FloatArray]) -> Frame:
    digest = str(item["rgb_sha256"])
    if digest not in images:
        raise InvalidInput(
            f"the image of stamp {item['stamp_ns']} ns is not in the file with the recorded pixels "
            f"(SHA-256 {digest[:12]}...); it is damaged, or was changed since"
        )
    frame = Frame(images[digest], int(item["stamp_ns"]), str(item["frame_id"]))
    return with_space(frame, item["space"], depths) if "space" in item else frame


def _answer_values(found: Segmentation, image: int) -> dict[str, Any]:
    answer = found.answer
    return {
        "image": image,
        "status": str(answer.status),
        **{name: getattr(answer, name) for name in _TEXTS},
        "tokens": int(answer.tokens),
        **{name: _maybe_float(getattr(answer, name)) for name in _LIKELIHOODS},
        "groundings": [_grounding_values(grounding) for grounding in answer.groundings],
        "regions": [
            {
                "grounding": _grounding_values(region.grounding),
                "box_xyxy": _floats(region.box_xyxy),
                "mask": rle_from_mask(region.mask),
                **{name: float(getattr(region, name)) for name in _SHARES},
                **{name: int(getattr(region, name)) for name in _COUNTS},
            }
            for region in found.regions
        ],
        "seconds": dict(found.seconds),
    }


def _segmentation(values: Any, frames: Sequence[Frame], query: Query) -> Segmentation:
    groundings = tuple(_grounding(item) for item in values["groundings"])
    given: dict[str, Any] = {name: str(values[name]) for name in _TEXTS}
    given |= {name: _maybe_float(values[name]) for name in _LIKELIHOODS}
    answer = Answer(Status(values["status"]), groundings=groundings, tokens=int(values["tokens"]), **given)
    frame = frames[int(values["image"])]
    regions = tuple(_region(item, frame) for item in values["regions"])
    return Segmentation(frame, query, answer, regions, dict(values["seconds"]))


def _region(item: Any, frame: Frame) -> Region:
    mask = mask_from_rle(item["mask"])
    if mask.shape != frame.rgb.shape[:2]:
        raise ValueError(f"a mask of {mask.shape} for an image of {frame.rgb.shape[:2]}")
    box = np.array(item["box_xyxy"], np.float32).reshape(4)
    given: dict[str, Any] = {name: float(item[name]) for name in _SHARES}
    given |= {name: int(item[name]) for name in _COUNTS}
    return Region(mask, box, _grounding(item["grounding"]), **given)


def _maybe_float(value: Any) -> float | None:
    return None if value is None else float(value)


def _grounding_values(grounding: Grounding) -> dict[str, Any]:
    return {
        "box_xyxy": _floats(grounding.box_xyxy),
        "points_xy": _floats(grounding.points_xy),
        "point_labels": np.asarray(grounding.point_labels).tolist(),
        "label": grounding.label,
        "score": float(grounding.score),
        "has_box": grounding.has_box,
        "any_order": grounding.any_order,
    }


def _grounding(item: Any) -> Grounding:
    box, points = np.array(item["box_xyxy"], np.float32), np.array(item["points_xy"], np.float32)
    labels = np.array(item["point_labels"], np.int32)
    flags = bool(item["has_box"]), bool(item["any_order"])
    return Grounding(box, points, labels, str(item["label"]), float(item["score"]), *flags)


def _floats(values: Any) -> Any:
    """Lists of numbers. float64 holds every float32 exactly, and JSON holds every float64 exactly."""
    return np.asarray(values, np.float64).tolist()

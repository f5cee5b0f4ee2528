"""The JSON that browsers get. Masks are PNG crops. Stamps are texts, as JavaScript's numbers cannot hold them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from reasonseg_ros import msg
from reasonseg_ros.console.history import Exchange
from reasonseg_ros.console.truths import TruthBag
from reasonseg_ros.images.mask_codec import EncodedMask, decode_mask, encode_mask
from reasonseg_ros.plain_text import plain_text
from reasonseg_ros.stamps import header_stamp_ns
from reasonseg_ros.types import BoolMask

DIAGNOSTIC_LEVELS = {b"\x00": "ok", b"\x01": "warning", b"\x02": "error", b"\x03": "stale"}


def text_of(kind: str, **values: Any) -> str:
    """A message to browsers, as JSON."""
    return json.dumps({"type": kind, **values}, allow_nan=False)


def entry_values(entry: Exchange) -> dict[str, Any]:
    """An entry of the history with its regions, as JSON values."""
    answer = entry.answer
    values = {
        "number": entry.number,
        "query_id": entry.query_id,
        "question": entry.question,
        "mode": entry.mode,
        "asked_s": entry.asked_s,
        "status": "" if answer is None else answer.status,
        "error": plain_text(entry.error or ("" if answer is None else answer.error)),
        "thought": plain_text(entry.thought),
        "is_open": entry.is_open,
        "has_image": bool(entry.jpeg),
        "size_wh": list(entry.size_wh),
        "mark": entry.mark,
        "saved": entry.saved,
        "regions": [],
        "confidence": None,
        "alternative": None,
    }
    if answer is not None:
        values |= {
            "confidence": _number(answer.confidence, 3) if answer.has_confidence else None,
            "total_s": _number(answer.total_s, 2),
            "reasoning_s": _number(answer.reasoning_s, 2),
            "segmenting_s": _number(answer.segmenting_s, 2),
            "stamp_ns": str(header_stamp_ns(answer.header)),
            "warning_3d": plain_text(answer.warning_3d),
            "regions": [shown_region(region, answer.frame_3d) for region in answer.regions],
        }
        if answer.has_alternative:
            values["alternative"] = [
                {"label": plain_text(region.label), "box_xyxy": _box(region.box)} for region in answer.alternative
            ]
    return values


def shown_region(region: msg.Region, frame_3d: str) -> dict[str, Any]:
    """A region with its mask and scores, and its 3D box in metres if it has one. `piece` is the number of its mask."""
    values: dict[str, Any] = {
        "piece": region.id,
        "label": plain_text(region.label),
        "box_xyxy": _box(region.box),
        "grounding_box_xyxy": _box(region.grounding_box),
        "grounding_points_xy": [[_number(point.x, 1), _number(point.y, 1)] for point in region.grounding_points],
        "mask": crop_values(region.mask),
        "mask_score": _number(region.mask_score, 3),
        "box_iou": _number(region.box_iou, 3),
        "points_inside": _number(region.points_inside, 3),
        "track_id": region.track_id,
        "track_state": region.track_state,
        "error_3d": plain_text(region.error_3d),
        "place": None,
    }
    if region.has_3d:
        center, size = region.box_3d.pose.position, region.box_3d.size
        values["place"] = {
            "frame": plain_text(frame_3d),
            "center_m": [_number(value, 3) for value in (center.x, center.y, center.z)],
            "size_m": [_number(value, 3) for value in (size.x, size.y, size.z)],
        }
    return values


def crop_values(mask: msg.Mask | EncodedMask) -> dict[str, Any]:
    """The mask's crop as a base64 8-bit grey PNG, and its offset in pixels. Raises InvalidInput for a damaged mask."""
    if mask.encoding != "png":
        mask = encode_mask(decode_mask(mask))
    return {
        "x": mask.x_offset,
        "y": mask.y_offset,
        "width": mask.crop_width,
        "height": mask.crop_height,
        "png": base64.b64encode(bytes(mask.data)).decode(),
    }


def piece_values(number: int, mask: BoolMask, scores: Sequence[float]) -> dict[str, Any]:
    """A mask made by a prompt, with its area in pixels and its predicted IoU."""
    return {
        "piece": number,
        "mask": crop_values(encode_mask(mask)),
        "area_px": int(mask.sum()),
        "mask_score": _number(max(scores, default=0.0), 3),
    }


def tracked_text(message: msg.Segmentation) -> str:
    """The masks of a tracked question, with the stamp of their image."""
    return text_of(
        "tracked",
        query_id=message.query_id,
        question=plain_text(message.question),
        status=message.status,
        stamp_ns=str(header_stamp_ns(message.header)),
        regions=[shown_region(region, message.frame_3d) for region in message.regions],
    )


def diagnostic_values(status: DiagnosticStatus) -> dict[str, Any]:
    """One status, without the node's name before the colon."""
    return {
        "name": plain_text(status.name.rpartition(": ")[2]),
        "level": DIAGNOSTIC_LEVELS.get(bytes(status.level), "stale"),
        "message": plain_text(status.message),
        "values": [[plain_text(pair.key), plain_text(pair.value)] for pair in status.values],
    }


def truth_values(truths: TruthBag) -> dict[str, Any]:
    """The saved questions, newest first, and their score."""
    saved = [
        {
            "name": one.name,
            "question": plain_text(one.question),
            "status": one.status,
            "iou": None if one.iou is None else _number(one.iou, 3),
            "is_empty": one.is_empty,
        }
        for one in reversed(truths.saved.values())
    ]
    return {"folder": str(truths.folder), "saved": saved, "score": truths.score()}


def _box(box: msg.Box) -> list[float | None]:
    return [_number(value, 1) for value in (box.x1, box.y1, box.x2, box.y2)]


def _number(value: float, digits: int) -> float | None:
    """The rounded value; None for NaN and infinity, which JSON does not have."""
    return round(float(value), digits) if math.isfinite(value) else None

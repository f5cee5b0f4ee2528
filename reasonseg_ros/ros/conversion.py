"""Outcomes as messages, and messages as groundings and masks.

An int in a float32 field would abort the process, so every number is converted to its field's type.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from reasonseg_ros import msg
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import clip_box, clip_points, quat_xyzw
from reasonseg_ros.images.jpeg_comment import with_comment
from reasonseg_ros.images.mask_codec import decode_mask, encode_mask
from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.spatial import OrientedBox, Surface
from reasonseg_ros.types import BoolMask, FloatArray, Frame, Grounding, Query, Region, Status

JPEG_QUALITY = 85


def header_message(frame: Frame | None) -> Header:
    """The frame's own header; an empty one if there is no frame."""
    return Header() if frame is None else Header(stamp=_time_message(frame.stamp_ns), frame_id=frame.frame_id)


def segmentation_message(outcome: Outcome, mask_encoding: str) -> msg.Segmentation:
    """The answer with its regions. Masks are coded as `png` or `rle`."""
    message = msg.Segmentation()
    answer, frame, segmentation = outcome.answer, outcome.frame, outcome.segmentation
    message.header = header_message(frame)
    if frame is not None:
        message.width, message.height = frame.size_wh
    message.query_id = outcome.question.query.query_id
    message.question = outcome.question.query.text
    message.status, message.error, message.thought = str(answer.status), answer.error, answer.thought
    message.has_confidence = answer.confidence is not None
    message.confidence = float(answer.confidence or 0.0)
    message.total_s = float(outcome.total_s)
    if segmentation is not None:
        message.reasoning_s = float(segmentation.seconds.get("reasoning", 0.0))
        message.segmenting_s = float(segmentation.seconds.get("segmenting", 0.0))
        message.catching_up_s = float(segmentation.seconds.get("catching_up", 0.0))
        message.reasoned_stamp = _time_message(segmentation.origin_ns)
        message.regions = [
            _region_message(index + 1, region, mask_encoding) for index, region in enumerate(segmentation.regions)
        ]
        if answer.status is Status.UNSURE and segmentation.alternative is not None:
            first = len(segmentation.regions) + 1
            message.has_alternative = True
            message.alternative = [
                _region_message(index, region, mask_encoding)
                for index, region in enumerate(segmentation.alternative, start=first)
            ]
        message.frame_3d, message.warning_3d = frame_3d(segmentation.frame), segmentation.frame.warning_3d
    return message


def reasoning_message(outcome: Outcome) -> msg.Reasoning:
    """The final text of the reasoner."""
    answer, query = outcome.answer, outcome.question.query
    message = msg.Reasoning(query_id=query.query_id, question=query.text, done=True, status=str(answer.status))
    message.header = header_message(outcome.frame)
    message.thought, message.text, message.error = answer.thought, answer.raw_text, answer.error
    message.model, message.tokens, message.elapsed_s = answer.model, int(answer.tokens), float(outcome.total_s)
    return message


def partial_reasoning_message(
    query: Query, frame: Frame | None, asked_s: float, text: str, tokens: int
) -> msg.Reasoning:
    """The reasoner's text while it grows. `asked_s` is by the monotonic clock."""
    message = msg.Reasoning(query_id=query.query_id, question=query.text, tokens=int(tokens))
    message.header = header_message(frame)
    message.thought, message.text = thought_so_far(text), text
    message.elapsed_s = float(time.monotonic() - asked_s)
    return message


def thought_so_far(text: str) -> str:
    """The thought in a text that may still grow; empty for an answer without one."""
    before, end, _ = text.partition("</think>")
    _, start, thought = before.partition("<think>")
    return thought.strip() if start else before.strip() if end else ""


def pixels_message(header: Header, pixels: NDArray[np.uint8]) -> Image:
    """mono8 of uint8 [H, W], or rgb8 of uint8 [H, W, 3]."""
    message = Image(header=header, encoding="mono8" if pixels.ndim == 2 else "rgb8")
    message.height, message.width = pixels.shape[:2]
    message.step = message.width * (1 if pixels.ndim == 2 else 3)
    message.data = pixels.tobytes()
    return message


def jpeg_message(header: Header, rgb: NDArray[np.uint8], comment: str) -> CompressedImage:
    """uint8 [H, W, 3] as JPEG with a comment, and with the format that image_transport's plugin writes."""
    data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return CompressedImage(
        header=header, format="rgb8; jpeg compressed bgr8", data=with_comment(data.tobytes(), comment)
    )


def frame_3d(frame: Frame) -> str:
    """The frame of the 3D results; empty if there are none."""
    if frame.depth_m is None or frame.intrinsics is None:
        return ""
    return frame.camera_pose.frame_id if frame.camera_pose else frame.frame_id


def point_message(xyz_m: Sequence[float] | NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in xyz_m)
    return Point(x=x, y=y, z=z)


def vector_message(xyz: Sequence[float] | NDArray[np.float64]) -> Vector3:
    x, y, z = (float(value) for value in xyz)
    return Vector3(x=x, y=y, z=z)


def pose_message(box: OrientedBox) -> Pose:
    x, y, z, w = quat_xyzw(box.rotation)
    return Pose(position=point_message(box.center_m), orientation=Quaternion(x=x, y=y, z=z, w=w))


def label_image(regions: Sequence[Region], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [H, W]: 0 outside, elsewhere the region's id (255 from the 255th on). Small regions lie on top."""
    labels = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    order = sorted(range(len(regions)), key=lambda index: -np.count_nonzero(regions[index].mask))
    for index in order:
        labels[regions[index].mask] = min(index + 1, 255)
    return labels


def confidence_image(regions: Sequence[Region], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [H, W]: the best predicted IoU of the regions that cover a pixel, 255 for 1; 0 outside."""
    confidence = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    for region in regions:
        score = round(255 * min(max(region.mask_score, 0.0), 1.0))
        confidence[region.mask] = np.maximum(confidence[region.mask], score)
    return confidence


def groundings_from(
    boxes: Sequence[Any], points: Sequence[Any], point_labels: Sequence[int], size_wh: tuple[int, int]
) -> tuple[Grounding, ...]:
    """Groundings of Box and Point2D messages: one per box; the n-th point belongs to the n-th box.

    Without boxes there is one for each point. With `point_labels` (1 inside the target, 0 outside it) all points and
    at most one box are one grounding. Boxes are clipped to the image; points that miss it by at most a pixel are moved
    to its border. Raises InvalidInput.
    """
    if not boxes and not points:
        raise InvalidInput("neither box nor point; send boxes, points, or one point for each box")
    labels = np.asarray(point_labels, np.int32)
    if len(labels):
        _check_labels(labels, len(boxes), len(points))
    elif boxes and points and len(points) != len(boxes):
        raise InvalidInput(f"{len(points)} points for {len(boxes)} boxes; send one for each box, or none")
    points_xy = np.array([(point.x, point.y) for point in points], np.float32).reshape(-1, 2)
    if not np.isfinite(points_xy).all():
        raise InvalidInput(f"points {points_xy.tolist()}; expected finite coordinates")
    outside = ((points_xy < -1) | (points_xy > np.array(size_wh) + 1)).any(axis=1)
    if outside.any():
        x, y = points_xy[outside][0].tolist()
        raise InvalidInput(f"point {x:g}, {y:g} lies outside the {size_wh[0]} x {size_wh[1]} image; send its pixels")
    points_xy = clip_points(points_xy, size_wh)
    if len(labels) and not boxes:
        inside_xy = points_xy[labels == 1]
        around = np.concatenate([np.floor(inside_xy.min(axis=0)), np.floor(inside_xy.max(axis=0)) + 1])
        return (Grounding(around, points_xy, labels, has_box=False),)
    if not boxes:
        corners = np.hstack([np.floor(points_xy), np.floor(points_xy) + 1])
        return tuple(Grounding(box, point[None], has_box=False) for box, point in zip(corners, points_xy, strict=True))
    groundings = []
    for index, box in enumerate(boxes):
        box_xyxy = (box.x1, box.y1, box.x2, box.y2)
        if not np.isfinite(box_xyxy).all() or box.x2 <= box.x1 or box.y2 <= box.y1:
            raise InvalidInput(
                f"box {box_xyxy}; expected finite x1 < x2 and y1 < y2 inside the {size_wh[0]} x {size_wh[1]} image"
            )
        clipped = clip_box(box_xyxy, size_wh)
        if clipped is None:
            raise InvalidInput(f"box {box_xyxy} has less than a pixel inside the {size_wh[0]} x {size_wh[1]} image")
        mine = slice(None) if len(labels) else slice(index, index + 1)
        groundings.append(Grounding(clipped, points_xy[mine], labels if len(labels) else None))
    return tuple(groundings)


def _check_labels(labels: NDArray[np.int32], boxes: int, points: int) -> None:
    if len(labels) != points or not np.isin(labels, (0, 1)).all():
        stated = f"{len(labels)} point_labels {labels[:20].tolist()} for {points} points"
        raise InvalidInput(f"{stated}; send one for each point, 1 inside the target or 0 outside it")
    if boxes > 1:
        raise InvalidInput(f"{boxes} boxes with point_labels; labelled points and one box are one target")
    if not boxes and not labels.any():
        raise InvalidInput("no point inside the target; send a box, or a point with label 1")


def masks_from(message: msg.Segmentation) -> list[BoolMask]:
    """bool [H, W] of each region, for clients. Raises InvalidInput if the data are damaged."""
    return [decode_mask(region.mask) for region in message.regions]


def _region_message(identity: int, region: Region, mask_encoding: str) -> msg.Region:
    message = msg.Region(id=identity, label=region.label, holes=int(region.holes), fragments=int(region.fragments))
    message.box = _box_message(region.box_xyxy)
    message.mask = _mask_message(region.mask, mask_encoding)
    if region.raw_mask is not None:
        message.raw_mask = _mask_message(region.raw_mask, mask_encoding)
    message.mask_score, message.box_iou = float(region.mask_score), float(region.box_iou)
    message.points_inside = float(region.points_inside)
    message.track_id, message.track_state = int(region.track_id), region.track_state
    message.grounding_box = _box_message(region.grounding.box_xyxy)
    message.grounding_points = [msg.Point2D(x=float(x), y=float(y)) for x, y in region.grounding.points_xy]
    if region.surface is not None:
        _fill_surface(message, region.surface)
    return message


def _fill_surface(message: msg.Region, surface: Surface) -> None:
    message.valid_depth_share, message.error_3d = float(surface.valid_share), surface.error
    if surface.box is not None:
        message.has_3d, message.point_count = True, len(surface.points_m)
        message.centroid = point_message(surface.centroid_m)
        message.box_3d = msg.Box3D(pose=pose_message(surface.box), size=vector_message(surface.box.size_m))


def _time_message(stamp_ns: int) -> Time:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def _box_message(box_xyxy: FloatArray) -> msg.Box:
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    return msg.Box(x1=x1, y1=y1, x2=x2, y2=y2)


def _mask_message(mask: BoolMask, mask_encoding: str) -> msg.Mask:
    coded = encode_mask(mask, mask_encoding)
    message = msg.Mask(height=coded.height, width=coded.width, encoding=coded.encoding)
    message.x_offset, message.y_offset = coded.x_offset, coded.y_offset
    message.crop_height, message.crop_width = coded.crop_height, coded.crop_width
    message.data = coded.data
    return message

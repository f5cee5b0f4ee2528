"""Answers as vision_msgs: 2D and 3D detections, and the names of the label mask's values.

`messages` is the module `vision_msgs.msg`, which is not installed everywhere. An outcome without an answer gives None,
because an empty list would mean that nothing is there.
"""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import PoseWithCovariance

from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.ros.conversion import frame_3d, header_message, pose_message, vector_message
from reasonseg_ros.types import Region

LAST_LABEL = 255
"""The label mask has 8 bits: all regions from this one on share its value."""


def detections_2d(messages: Any, outcome: Outcome) -> Any | None:
    """Detection2DArray in pixels. `score` is the mask score, `class_id` the region's name, `id` its track."""
    if outcome.frame is None or not outcome.answer.status.is_answer:
        return None
    header = header_message(outcome.frame)
    detections = []
    for region in outcome.regions:
        x1, y1, x2, y2 = (float(value) for value in region.box_xyxy)
        center = messages.Pose2D(position=messages.Point2D(x=(x1 + x2) / 2, y=(y1 + y2) / 2))
        box = messages.BoundingBox2D(center=center, size_x=x2 - x1, size_y=y2 - y1)
        result = messages.ObjectHypothesisWithPose(hypothesis=_hypothesis(messages, outcome, region))
        detections.append(messages.Detection2D(header=header, results=[result], bbox=box, id=_track(region)))
    return messages.Detection2DArray(header=header, detections=detections)


def detections_3d(messages: Any, outcome: Outcome) -> Any | None:
    """Detection3DArray of the regions with a 3D box, in the frame of the results. None if the answer has regions but
    none has a box, because their positions are unknown.
    """
    if outcome.frame is None or not outcome.answer.status.is_answer or not frame_3d(outcome.frame):
        return None
    header = header_message(outcome.frame)
    header.frame_id = frame_3d(outcome.frame)
    detections = []
    for region in outcome.regions:
        if region.surface is None or region.surface.box is None:
            continue
        pose = pose_message(region.surface.box)
        box = messages.BoundingBox3D(center=pose, size=vector_message(region.surface.box.size_m))
        result = messages.ObjectHypothesisWithPose(
            hypothesis=_hypothesis(messages, outcome, region), pose=PoseWithCovariance(pose=pose)
        )
        detections.append(messages.Detection3D(header=header, results=[result], bbox=box, id=_track(region)))
    if outcome.regions and not detections:
        return None
    return messages.Detection3DArray(header=header, detections=detections)


def label_info(messages: Any, outcome: Outcome) -> Any | None:
    """LabelInfo: the name of each value of the label mask. `threshold` stays 0: unsure answers have no label mask."""
    if outcome.frame is None or not outcome.answer.status.is_answer:
        return None
    classes = [
        messages.VisionClass(class_id=number, class_name=_name(outcome, region))
        for number, region in enumerate(outcome.regions[:LAST_LABEL], 1)
    ]
    return messages.LabelInfo(header=header_message(outcome.frame), class_map=classes)


def _hypothesis(messages: Any, outcome: Outcome, region: Region) -> Any:
    return messages.ObjectHypothesis(class_id=_name(outcome, region), score=float(region.mask_score))


def _name(outcome: Outcome, region: Region) -> str:
    """The reasoner's name for it, else the question, because questions have no fixed list of classes."""
    return region.label or outcome.question.query.text


def _track(region: Region) -> str:
    return str(region.track_id) if region.track_id else ""

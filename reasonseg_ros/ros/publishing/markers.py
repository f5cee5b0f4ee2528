"""Answers as RViz markers: a translucent box with its name for each region, and the question with its reason."""

from __future__ import annotations

import textwrap

from geometry_msgs.msg import Pose
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from reasonseg_ros.images.overlays.drawing import PALETTE_RGB, answer_title
from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.ros.conversion import frame_3d, header_message, point_message, pose_message, vector_message
from reasonseg_ros.types import Frame, Region

BOX_ALPHA = 0.35
TEXT_M = 0.025
"""Height of letters."""
LINE_CHARACTERS = 60
TITLE_AT_M = (0.0, -0.3, 1.0)
"""In the camera's optical frame: above the middle of the image, an arm's length away."""


def marker_array(outcome: Outcome) -> MarkerArray:
    """Markers that replace those of the previous answer. The outcome must have a frame."""
    frame = outcome.frame
    assert frame is not None
    markers = [Marker(header=header_message(frame), ns="question", action=Marker.DELETEALL), _title(outcome, frame)]
    for index, region in enumerate(outcome.regions):
        markers += _box_with_name(frame, index, region)
    return MarkerArray(markers=markers)


def _title(outcome: Outcome, frame: Frame) -> Marker:
    """Question and reason as text in the scene, because RViz shows no text messages."""
    lines = answer_title(outcome.question.query.text, outcome.answer).splitlines()
    text = "\n".join(piece for line in lines for piece in textwrap.wrap(line, LINE_CHARACTERS))
    return _text(header_message(frame), "question", 0, text, Pose(position=point_message(TITLE_AT_M)))


def _box_with_name(frame: Frame, index: int, region: Region) -> list[Marker]:
    if region.surface is None or region.surface.box is None:
        return []
    box = region.surface.box
    header = header_message(frame)
    header.frame_id = frame_3d(frame)
    red, green, blue = (float(value) / 255 for value in PALETTE_RGB[index % len(PALETTE_RGB)])
    cube = Marker(header=header, ns="boxes", id=index + 1, type=Marker.CUBE, action=Marker.ADD)
    cube.pose, cube.scale = pose_message(box), vector_message(box.size_m)
    cube.color = ColorRGBA(r=red, g=green, b=blue, a=BOX_ALPHA)
    name = f"{index + 1} {region.label}".strip() + f" {region.mask_score:.2f}"
    # Away from the support, which is up on a table.
    above = box.center_m + box.rotation[:, 2] * (box.size_m[2] / 2 + TEXT_M)
    return [cube, _text(header, "names", index + 1, name, Pose(position=point_message(above)))]


def _text(header: Header, namespace: str, identity: int, text: str, pose: Pose) -> Marker:
    marker = Marker(header=header, ns=namespace, id=identity, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
    marker.text, marker.pose = text, pose
    marker.scale.z = TEXT_M
    marker.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    return marker

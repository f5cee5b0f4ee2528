"""The best target of an answer as one stamped pose, for programs that go to a pose."""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped

from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.ros.conversion import frame_3d, header_message, pose_message
from reasonseg_ros.types import Region


def target_pose(_: object, outcome: Outcome) -> PoseStamped | None:
    """Centre and axes of the best target's 3D box, in the frame of the results; None if no target has one.

    The best target has the highest mask score. Among tracked targets it is the one with the lowest track id, so that
    the pose does not jump from one to another.
    """
    if outcome.frame is None or not outcome.answer.status.is_answer or not frame_3d(outcome.frame):
        return None
    placed = [region for region in outcome.regions if region.surface is not None and region.surface.box is not None]
    if not placed:
        return None
    best = min(placed, key=_rank)
    assert best.surface is not None and best.surface.box is not None
    message = PoseStamped(header=header_message(outcome.frame), pose=pose_message(best.surface.box))
    message.header.frame_id = frame_3d(outcome.frame)
    return message


def _rank(region: Region) -> tuple[int, float]:
    return region.track_id, -region.mask_score

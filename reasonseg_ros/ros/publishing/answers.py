"""Completes an outcome before it is published: 3D surfaces and messages."""

from __future__ import annotations

from dataclasses import replace

from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.serialization import serialize_message

from reasonseg_ros import msg
from reasonseg_ros.live.questions import NoSegmentation, Outcome
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.ros.conversion import reasoning_message, segmentation_message
from reasonseg_ros.space.points import located
from reasonseg_ros.types import Answer, Status


def in_space(outcome: Outcome, min_valid_share: float, logger: RcutilsLogger) -> Outcome:
    """The outcome with its regions' 3D surfaces. Depth problems never stop the 2D answer."""
    segmentation = outcome.segmentation
    if segmentation is None or not (segmentation.regions or segmentation.alternative):
        return outcome
    try:
        found = located(segmentation, min_valid_share)
    except Exception as error:
        logger.error(f"no 3D: {type(error).__name__}: {error}")
        frame = replace(segmentation.frame, depth_m=None, warning_3d=one_line(f"{type(error).__name__}: {error}"))
        found = located(replace(segmentation, frame=frame), 1.0)
    return replace(outcome, result=found)


def messages_of(
    outcome: Outcome, mask_encoding: str, logger: RcutilsLogger
) -> tuple[Outcome, msg.Segmentation, msg.Reasoning | None]:
    """The outcome with its messages. If they cannot be sent, it becomes a failure with the reason."""
    try:
        return outcome, *_sendable(outcome, mask_encoding)
    except Exception as error:
        text = one_line(f"the answer cannot be sent: {type(error).__name__}: {error}")
        logger.error(text)
        failed = replace(outcome, result=NoSegmentation(Answer(Status.FAILED, error=text), outcome.frame))
        return failed, *_sendable(failed, mask_encoding)


def _sendable(outcome: Outcome, mask_encoding: str) -> tuple[msg.Segmentation, msg.Reasoning | None]:
    """The messages of an outcome. Raises if they cannot be serialized, which rclpy notices only when it sends them."""
    message = segmentation_message(outcome, mask_encoding)
    if outcome.is_repeated and not outcome.is_last:
        return message, None
    serialize_message(message)
    if outcome.is_repeated:
        return message, None
    reasoning = reasoning_message(outcome)
    serialize_message(reasoning)
    return message, reasoning

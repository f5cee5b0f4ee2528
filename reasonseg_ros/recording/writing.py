"""Writes a black box as the bytes of an MCAP file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2

from reasonseg_ros.bags.mcap_bytes import StampedMessage, mcap_bytes
from reasonseg_ros.bags.messages import (
    PACKAGE,
    camera_info_message,
    compressed_image_message,
    depth_message,
    query_message,
    text_message,
    typestore,
)
from reasonseg_ros.bags.topics import (
    BLACK_BOX_TOPIC,
    CAMERA_INFO_TOPIC,
    COMPRESSED_IMAGE_TOPIC,
    DEPTH_TOPIC,
    QUERY_TOPIC,
)
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.recording.content import PROMPT, BlackBox, SentMessage, to_text
from reasonseg_ros.types import Frame

JPEG_QUALITY = 90
"""JPEG quality of the images around the answer. Those that the answer is about are lossless, as PNG."""
_PNG_EFFORT = 3
"""PNG compression level, 0 to 9. Higher levels take more time to save a few percent."""


def black_box_bytes(box: BlackBox, around: Iterable[Frame] = (), published: Sequence[SentMessage] = ()) -> bytes:
    """The file: images, depth, calibration, the question, the node's messages about it, and the JSON text.

    `around` are images before and after the answer. Raises InvalidInput for an image that cannot be encoded.
    """
    return mcap_bytes(black_box_messages(box, list(around), published))


def black_box_messages(
    box: BlackBox, around: Sequence[Frame] = (), published: Sequence[SentMessage] = ()
) -> Iterator[StampedMessage]:
    """The messages of the file. Several black boxes can share a file, which needs equal messages only once."""
    seen_ns = {frame.stamp_ns for frame in box.frames}
    for frame in box.frames:
        yield _image(frame, "png")
        yield from _in_space(frame)
    for frame in around:
        if frame.stamp_ns not in seen_ns:
            yield _image(frame, "jpeg")
    asked_ns = max(seen_ns, default=0)
    if box.query.text and box.asked != PROMPT:
        yield _message(QUERY_TOPIC, query_message(box.query), asked_ns)
    last_ns = max([asked_ns, *(frame.stamp_ns for frame in around)])
    for message in published:
        yield StampedMessage(message.topic, f"{PACKAGE}/msg/{message.message_type}", last_ns, message.serialise())
    yield _message(BLACK_BOX_TOPIC, text_message(to_text(box)), last_ns)


def _image(frame: Frame, encoding: str) -> StampedMessage:
    options = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_EFFORT]
    if encoding == "jpeg":
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(f".{encoding}", cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise InvalidInput(f"an image of {frame.size_wh} pixels cannot be encoded as {encoding}")
    message = compressed_image_message(data.tobytes(), encoding, frame.stamp_ns, frame.frame_id)
    return _message(COMPRESSED_IMAGE_TOPIC, message, frame.stamp_ns)


def _in_space(frame: Frame) -> Iterator[StampedMessage]:
    """Depth and calibration. The lens of a rectified image is only in the JSON text: CameraInfo needs more values."""
    if frame.depth_m is not None:
        yield _message(DEPTH_TOPIC, depth_message(frame.depth_m, frame.stamp_ns, frame.frame_id), frame.stamp_ns)
    if frame.intrinsics is not None and not frame.intrinsics.camera_from_lens:
        info = camera_info_message(frame.intrinsics, frame.size_wh, frame.stamp_ns, frame.frame_id)
        yield _message(CAMERA_INFO_TOPIC, info, frame.stamp_ns)


def _message(topic: str, message: Any, stamp_ns: int) -> StampedMessage:
    kind = message.__msgtype__
    return StampedMessage(topic, kind, stamp_ns, bytes(typestore().serialize_cdr(message, kind)))

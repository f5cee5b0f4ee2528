"""Finds the picture of an answer among those of `~/overlay/compressed`."""

from __future__ import annotations

from collections import deque

from sensor_msgs.msg import CompressedImage

from reasonseg_ros.images.jpeg_comment import comment_of
from reasonseg_ros.msg import Segmentation

MOST_KEPT = 50
"""Pictures of other questions that may come before the answer's own, for example of tracked targets."""


class AnswerPictures:
    """The last pictures. Each has its question's `query_id` in the comment of its JPEG; the stamp alone is not enough,
    because several questions may be about one image.
    """

    def __init__(self) -> None:
        self._kept: deque[CompressedImage] = deque(maxlen=MOST_KEPT)

    def keep(self, message: CompressedImage) -> None:
        """Take a message of the topic."""
        self._kept.append(message)

    def of(self, answer: Segmentation) -> CompressedImage | None:
        """The answer's picture; None if it has not come."""
        found = (one for one in reversed(self._kept) if one.header == answer.header)
        return next((one for one in found if comment_of(bytes(one.data)) == answer.query_id), None)

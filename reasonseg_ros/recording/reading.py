"""Reads the black boxes in a file. Other files, damage and changed images are refused with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reasonseg_ros.bags import BagReader, Damage, decoded
from reasonseg_ros.bags.topics import BLACK_BOX_TOPIC, COMPRESSED_IMAGE_TOPIC, DEPTH_TOPIC
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.messages import depth_from_image, rgb_from_compressed
from reasonseg_ros.recording.content import BlackBox, digests_in, from_text, rgb_sha256
from reasonseg_ros.recording.space_values import depth_sha256
from reasonseg_ros.types import FloatArray, RgbImage


def read_black_boxes(path: Path) -> Iterator[BlackBox]:
    """The black boxes of a file that the node wrote, or of a merged bag, in order.

    Raises InvalidInput if the file is not a bag, holds no black box, or is damaged. All images of the black boxes are
    in memory at once.
    """
    with BagReader(path) as reader:
        if reader.topics.get(BLACK_BOX_TOPIC) != "std_msgs/msg/String":
            held = ", ".join(sorted(reader.topics)) or "no topic"
            raise InvalidInput(f"{path} holds no black box (no texts on {BLACK_BOX_TOPIC}); it has {held}")
        texts = [str(message.data) for _, _, message in reader.messages([BLACK_BOX_TOPIC])]
        if not texts:
            raise InvalidInput(f"{path} holds no black box; {BLACK_BOX_TOPIC} has no messages")
        try:
            wanted = {digest for text in texts for digest in digests_in(text)}
            images, depths = _images(reader, wanted), _depths(reader, texts)
            for text in texts:
                yield from_text(text, images, depths)
        except InvalidInput as error:
            raise InvalidInput(f"{path}: {error}") from error


def _images(reader: BagReader, wanted: set[str]) -> dict[str, RgbImage]:
    """The images of the bag with these digests, as far as they are there."""
    found: dict[str, RgbImage] = {}
    if COMPRESSED_IMAGE_TOPIC not in reader.topics:
        return found
    for item in reader.records([COMPRESSED_IMAGE_TOPIC]):
        if len(found) == len(wanted):
            break
        if isinstance(item, Damage):
            raise InvalidInput(str(item))
        rgb = rgb_from_compressed(decoded(item))
        digest = rgb_sha256(rgb)
        if digest in wanted:
            found[digest] = rgb
    return found


def _depths(reader: BagReader, texts: list[str]) -> dict[str, FloatArray]:
    """The depth images of the bag by their digests; empty if no text refers to one."""
    found: dict[str, FloatArray] = {}
    if DEPTH_TOPIC not in reader.topics or not any("depth_sha256" in text for text in texts):
        return found
    for item in reader.records([DEPTH_TOPIC]):
        if isinstance(item, Damage):
            raise InvalidInput(str(item))
        depth_m = depth_from_image(decoded(item))
        found[depth_sha256(depth_m)] = depth_m
    return found

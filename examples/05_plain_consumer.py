"""Reads the answers with rclpy, the messages and OpenCV only: what a package of your own needs.

    python examples/05_plain_consumer.py "the red mug"

Asks once, prints each region, and decodes its mask. Without a question it prints the answers to all questions.
"""

import sys
import uuid

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from reasonseg_ros.msg import Mask, Query, Segmentation


def decode(mask: Mask) -> np.ndarray:
    """bool [H, W] of the whole image."""
    whole = np.zeros((mask.height, mask.width), bool)
    size = (mask.crop_height, mask.crop_width)
    if size[0] * size[1] == 0:
        return whole
    if mask.encoding == Mask.PNG:
        crop = cv2.imdecode(np.frombuffer(mask.data, np.uint8), cv2.IMREAD_GRAYSCALE) > 127
    else:  # run lengths, column by column, zeros first
        runs = np.frombuffer(mask.data, "<u4")
        crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size, order="F")
    whole[mask.y_offset : mask.y_offset + size[0], mask.x_offset : mask.x_offset + size[1]] = crop
    return whole


class PlainConsumer(Node):
    """`on_answer` receives each answer with the masks of its regions."""

    def __init__(self, question="", **node_arguments):
        super().__init__("plain_consumer", **node_arguments)
        self.question = question
        # A latched answer to an earlier question must not be taken for the answer to this one.
        self.query_id = f"plain_consumer_{uuid.uuid4().hex[:8]}"
        self.has_answer = False
        # Answers are latched: a late subscriber gets the newest one.
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(Segmentation, "/reasonseg/segmentation", self._on_segmentation, latched)
        self._queries = self.create_publisher(Query, "/reasonseg/query", 1)
        self._timer = self.create_timer(0.2, self._ask) if question else None

    def _ask(self):
        if self._queries.get_subscription_count() > 0:
            self._queries.publish(Query(query_id=self.query_id, text=self.question))
            self._timer.cancel()

    def _on_segmentation(self, answer):
        if self.question and answer.query_id != self.query_id:
            return
        if answer.status == Segmentation.OK:
            self.on_answer(answer, [decode(region.mask) for region in answer.regions])
        elif answer.status == Segmentation.NO_TARGET:
            self.get_logger().info(f"nothing fits: {answer.thought}")
        else:  # a failure is not an empty scene
            self.get_logger().warning(f"{answer.status}: {answer.error}")
        self.has_answer = True

    def on_answer(self, answer, masks):
        """The masks belong to the image with the stamp in `answer.header`."""
        for region, mask in zip(answer.regions, masks, strict=True):
            box = region.box
            self.get_logger().info(f"{box.x1:.0f} {box.y1:.0f} {box.x2:.0f} {box.y2:.0f}: {mask.sum()} pixels")


def main():
    rclpy.init()
    node = PlainConsumer(sys.argv[1] if len(sys.argv) > 1 else "")
    try:
        while not (node.question and node.has_answer):
            rclpy.spin_once(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()

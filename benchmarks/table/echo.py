"""Answers every image with its header only: the cost of bare rclpy between two processes."""

from __future__ import annotations

from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from reasonseg_ros import msg
from reasonseg_ros.ros.process.memory import trim_regularly


def main() -> None:
    trim_regularly()  # as the node does
    rclpy.init()
    node = rclpy.create_node("echo")
    answers = node.create_publisher(msg.Segmentation, "reasonseg/segmentation", 10)
    node.create_subscription(
        Image, "image", lambda image: answers.publish(msg.Segmentation(header=image.header)), qos_profile_sensor_data
    )
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


if __name__ == "__main__":
    main()

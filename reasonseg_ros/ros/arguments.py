"""The node's command line: a usage text, and the refusal of arguments that are not for ROS."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.utilities import remove_ros_args

from reasonseg_ros.errors import ConfigError
from reasonseg_ros.files.resources import resource

USAGE = """ros2 run reasonseg_ros node --ros-args [-p NAME:=VALUE] [-r FROM:=TO] [--params-file FILE]
       python -m reasonseg_ros.ros.node --ros-args ..."""


def check_arguments(arguments: Sequence[str]) -> None:
    """`arguments` as in `sys.argv`. For -h and --help prints the usage and raises SystemExit(0).

    For arguments that are not for ROS prints the reason to stderr and raises SystemExit(2). Raises ConfigError for
    arguments after --ros-args that ROS does not know.
    """
    parser = argparse.ArgumentParser(
        prog="node",
        usage=USAGE,
        description="The perception node: camera images and a question in; masks, boxes, positions and the reason out.",
        epilog=f"Parameters with their defaults and bounds: {resource('config') / 'reasonseg.yaml'}\n"
        "Topics to remap: image, camera_info, depth, for example -r image:=/camera/image_raw",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    try:
        others = remove_ros_args(list(arguments))[1:]
    except rclpy_implementation.UnknownROSArgsError as error:
        raise ConfigError(f"unknown ROS arguments {error}; see --help") from error
    parser.parse_args(others)

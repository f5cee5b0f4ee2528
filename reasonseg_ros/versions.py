"""Versions of what this package runs on, for reports."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = (
    "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "tokenizers", "tensorrt", "torch",
    "transformers", "rosbags", "mcap", "mujoco", "ros-jazzy-rclpy",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Name and version of Python, of the libraries that are installed, and of ROS if one is sourced."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if os.environ.get("ROS_DISTRO"):
        found["ROS_DISTRO"] = os.environ["ROS_DISTRO"]
    return found

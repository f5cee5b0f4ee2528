"""Versions of what this package runs on, for reports."""

from __future__ import annotations

import functools
import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = (
    "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "tokenizers", "tensorrt", "torch",
    "transformers", "rosbags", "mcap", "mujoco", "ros-jazzy-rclpy",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Name and version of Python, of the libraries that are installed, and of ROS if one is sourced."""
    found = {"python": platform.python_version(), **_libraries()}
    if os.environ.get("ROS_DISTRO"):
        found["ROS_DISTRO"] = os.environ["ROS_DISTRO"]
    return found


@functools.cache
def _libraries() -> dict[str, str]:
    """Looked up once a process, as all installed packages are searched for those that are not."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found

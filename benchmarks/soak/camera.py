"""The camera of the soak, a separate process: clips of footage and of the tabletop, with the faults of cameras.

Clips follow one another without end. The stamps of most are the time of publishing. Some clips loop with recorded
stamps, repeat one stamp or stop for a while. Sizes and encodings change from clip to clip, and some images are
truncated. Only tabletop clips have depth.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.types import FloatArray, RgbImage

FRAMES = 80
"""Number of images in a clip."""
SIZE_WH = (640, 480)
FIRST_SEED = 20_600_000
STOP_S = 12.0
"""Longer than the time after which the node reports a silent camera."""
STAMPS = ("now",) * 6 + ("loop", "repeat", "stop")
ENCODINGS = ("rgb8", "rgb8", "bgr8", "mono8")


@dataclass(frozen=True)
class View:
    rgb: RgbImage
    depth_m: FloatArray | None = None
    intrinsics: Intrinsics | None = None


def footage(path: str) -> Iterator[View]:
    """The images of a video file. They are read again each time, so none are kept."""
    video = cv2.VideoCapture(path)
    count = 0
    while count < FRAMES and (read := video.read())[0]:
        yield View(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
        count += 1
    if not count:
        raise SystemExit(f"{path} holds no video")


def tabletop(count: int) -> list[list[View]]:
    """Videos of the simulated tabletop."""
    from reasonseg_ros.tabletop.videos.film import film
    from reasonseg_ros.tabletop.world import World

    world = World(SIZE_WH)
    return [
        [View(scene.rgb, scene.depth_m, scene.intrinsics) for scene in film(world, FIRST_SEED + number).scenes]
        for number in range(count)
    ]


class Camera(Node):
    """Publishes image, depth and camera_info, and counts its actions."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__("camera")
        self.counts: Counter[str] = Counter()
        self._rng = rng
        self._images = self.create_publisher(Image, "image", qos_profile_sensor_data)
        self._depths = self.create_publisher(Image, "depth", qos_profile_sensor_data)
        self._infos = self.create_publisher(CameraInfo, "camera_info", qos_profile_sensor_data)

    def play(self, views: Iterator[View], period_s: float) -> None:
        stamps, encoding = self._rng.choice(STAMPS), self._rng.choice(ENCODINGS)
        self.counts[f"clips: stamps {stamps}"] += 1
        self.counts[f"clips: {encoding}"] += 1
        if stamps == "stop":
            time.sleep(STOP_S)
        next_s = time.monotonic()
        stamp_ns = 0
        for number, view in enumerate(views):
            if stamps == "loop":
                stamp_ns = 10**12 + round(number * period_s * 1e9)
            elif stamps != "repeat" or not 10 <= number < 20:
                stamp_ns = time.time_ns()
            self._publish(view, stamp_ns, encoding)
            next_s += period_s
            time.sleep(max(0.0, next_s - time.monotonic()))

    def _publish(self, view: View, stamp_ns: int, encoding: str) -> None:
        pixels = view.rgb if encoding == "rgb8" else view.rgb[:, :, ::-1] if encoding == "bgr8" else view.rgb[:, :, 1]
        image = _image(pixels, stamp_ns, encoding)
        if self._rng.random() < 0.01:
            image.data = image.data[: len(image.data) // 2]
            self.counts["images cut short"] += 1
        if view.depth_m is not None and view.intrinsics is not None:
            lens = view.intrinsics
            info = CameraInfo(header=image.header, height=image.height, width=image.width)
            info.k = [lens.fx_px, 0.0, lens.cx_px, 0.0, lens.fy_px, lens.cy_px, 0.0, 0.0, 1.0]
            self._infos.publish(info)
            depth_m = view.depth_m[::2, ::2] if self._rng.random() < 0.02 else view.depth_m
            self._depths.publish(_image((depth_m * 1000).astype(np.uint16), stamp_ns, "16UC1"))
        self._images.publish(image)
        self.counts["images"] += 1


def _image(pixels: np.ndarray, stamp_ns: int, encoding: str) -> Image:
    pixels = np.ascontiguousarray(pixels)
    image = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=pixels[0].nbytes)
    image.header.stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    image.header.frame_id = "camera"
    image.data = pixels.tobytes()
    return image


def run(videos: Sequence[str], tabletop_videos: int, rate_hz: float, seed: int) -> None:
    """Publish until the process is interrupted, then print the counts."""
    simulated = tabletop(tabletop_videos)
    rclpy.init()
    camera = Camera(random.Random(seed))
    clips = [("footage", path) for path in videos] + [("tabletop", str(i)) for i in range(len(simulated))]
    try:
        for kind, name in cycle(clips):
            camera.play(footage(name) if kind == "footage" else iter(simulated[int(name)]), 1 / rate_hz)
            camera.counts[f"clips of {kind}"] += 1
            if not rclpy.ok():
                break
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:  # published while ROS was shut down
        if rclpy.ok():
            raise
    print(json.dumps(camera.counts))

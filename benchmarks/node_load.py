"""The real node under a camera's load: delivery, freshness, overhead and memory while questions are asked.

    python benchmarks/node_load.py VIDEO [--rate 30] [--limit-s 50] [--default-transport] [--node -p NAME:=VALUE ...]

A second process publishes the video's first frames in a loop as raw rgb8 images with the time of publishing as stamp.
This one asks one question after the other and reads the node's diagnostics. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from reasonseg_ros import msg
from reasonseg_ros.demo.processes import reserve_domain

ROOT = Path(__file__).resolve().parent.parent
FRAMES = 30
QUESTIONS = ("the red thing", "something to drink from", "the tallest object", "something to drive a nail in with")


def publish_video(path: str, rate_hz: float) -> None:
    """Publish until the process is interrupted, then print how many images went out."""
    video = cv2.VideoCapture(path)
    images = []
    while len(images) < FRAMES and (read := video.read())[0]:
        height, width = read[1].shape[:2]
        image = Image(height=height, width=width, encoding="rgb8", step=width * 3)
        image.header.frame_id = "camera"
        image.data = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB).tobytes()
        images.append(image)
    if not images:
        raise SystemExit(f"{path} holds no video")
    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
    count, start_s = 0, time.monotonic()
    try:
        while rclpy.ok():
            image = images[count % len(images)]
            image.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(image)
            count += 1
            time.sleep(max(0.0, start_s + count / rate_hz - time.monotonic()))
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    print(json.dumps({"published": count, "seconds": time.monotonic() - start_s}))


class Asker(Node):
    """Asks, and keeps when each answer came and what the node says of itself."""

    def __init__(self) -> None:
        super().__init__("asker")
        self.answers: list[tuple[float, msg.Segmentation]] = []
        self.values: dict[str, str] = {}
        self.received: list[tuple[float, int]] = []
        self.queries = self.create_publisher(msg.Query, "reasonseg/query", 10)
        self.create_subscription(msg.Segmentation, "reasonseg/segmentation", self._on_answer, 10)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_answer(self, message: msg.Segmentation) -> None:
        self.answers.append((time.time(), message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        # Depth and the known picture use some of the names of the camera and the node.
        seen = (status for status in message.status if not status.name.endswith(("depth", "known picture")))
        self.values = {pair.key: pair.value for status in seen for pair in status.values}
        self.received.append((time.monotonic(), int(self.values["received"])))

    def spin_until(self, done, limit_s: float) -> bool:
        deadline_s = time.monotonic() + limit_s
        while not done() and time.monotonic() < deadline_s:
            rclpy.spin_once(self, timeout_sec=0.1)
        return bool(done())


def usage(pid: int) -> tuple[float, float]:
    """Resident memory in MiB and CPU seconds of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, ticks / os.sysconf("SC_CLK_TCK")


def measure(asker: Asker, node: subprocess.Popen, limit_s: float) -> dict[str, object]:
    """Idle for a tenth of the time, then questions one after the other."""
    if not asker.spin_until(lambda: asker.values.get("state") == "active", 180.0):
        raise SystemExit("the node did not become active")
    asker.spin_until(lambda: float(asker.values.get("rate_hz", 0)) > 1, 30.0)
    cpu_s, start_s = usage(node.pid)[1], time.monotonic()
    asker.spin_until(lambda: False, limit_s / 10)
    idle_cpu = (usage(node.pid)[1] - cpu_s) / (time.monotonic() - start_s)
    first = asker.received[-1]
    ages_s, overheads_s, totals_s, memory_mib = [], [], [], []
    deadline_s = time.monotonic() + 0.9 * limit_s
    while time.monotonic() < deadline_s:
        count, asked_s = len(asker.answers), time.time()
        asker.queries.publish(msg.Query(text=QUESTIONS[count % len(QUESTIONS)]))
        if not asker.spin_until(lambda count=count: len(asker.answers) > count, 60.0):
            raise SystemExit("a question was not answered within 60 s")
        came_s, answer = asker.answers[-1]
        stamp_s = answer.header.stamp.sec + answer.header.stamp.nanosec / 1e9
        ages_s.append(asked_s - stamp_s)
        totals_s.append(came_s - asked_s)
        overheads_s.append(came_s - asked_s - answer.reasoning_s - answer.segmenting_s)
        memory_mib.append(usage(node.pid)[0])
    last = asker.received[-1]
    spread = lambda values, scale: [round(float(np.percentile(values, q)) * scale, 1) for q in (50, 95, 100)]  # noqa: E731
    statuses = [answer.status for _, answer in asker.answers]
    return {
        "questions": len(statuses),
        "statuses": {status: statuses.count(status) for status in sorted(set(statuses))},
        "question_to_answer_ms_p50_p95_max": spread(totals_s, 1e3),
        "of_it_neither_reasoner_nor_segmenter_ms_p50_p95_max": spread(overheads_s, 1e3),
        "age_of_the_frame_when_asked_ms_p50_p95_max": spread(ages_s, 1e3),
        "images_received_a_second": round((last[1] - first[1]) / (last[0] - first[0]), 2),
        "images_dropped_by_the_node": int(asker.values["dropped"]),
        "idle_cpu_share_of_a_core": round(idle_cpu, 2),
        "memory_mib_after_every_tenth": [round(value) for value in memory_mib[::10]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video")
    parser.add_argument("--rate", type=float, default=30.0, help="images a second (default: %(default)s)")
    parser.add_argument("--limit-s", type=float, default=50.0, help="time to measure (default: %(default)s)")
    parser.add_argument("--default-transport", action="store_true", help="without the shared-memory profile")
    parser.add_argument("--camera", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--node", nargs=argparse.REMAINDER, default=[], help="ROS arguments of the node")
    arguments = parser.parse_args()
    if arguments.camera:
        publish_video(arguments.video, arguments.rate)
        return
    domain_id, _reservation = reserve_domain()
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    if not arguments.default_transport:
        os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(ROOT / "config" / "fastdds_shm.xml")
    camera_command = [__file__, arguments.video, "--camera", "--rate", str(arguments.rate)]
    node_command = ["-m", "reasonseg_ros.ros.node", "--ros-args", *arguments.node]
    node = subprocess.Popen([sys.executable, *node_command], cwd=ROOT, stdout=subprocess.DEVNULL)
    camera = subprocess.Popen([sys.executable, *camera_command], stdout=subprocess.PIPE, text=True)
    try:
        rclpy.init()
        asker = Asker()
        result = measure(asker, node, arguments.limit_s)
    finally:
        for process in (camera, node):
            process.send_signal(signal.SIGINT)
        printed = camera.communicate(timeout=30)[0]
        node.wait(60)
    sent = json.loads(printed)
    result["images_sent_a_second"] = round(sent["published"] / sent["seconds"], 2)
    print(json.dumps({**result, "node_exit_code": node.returncode}, indent=1))


if __name__ == "__main__":
    main()

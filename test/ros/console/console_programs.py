"""Processes of the console's tests, and a bag for them."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from reasonseg_ros import bags
from reasonseg_ros.types import Intrinsics

ROOT = Path(__file__).resolve().parents[3]
NODE = Path(__file__).with_name("following_node.py")
CAMERA = ("-r", "image:=/camera/image", "-r", "depth:=/camera/depth", "-r", "camera_info:=/camera/camera_info")
SIZE_WH = (64, 48)
BRIGHT = (slice(10, 20), slice(30, 50))


def write_bag(path):
    """One image with a bright box, its depth and calibration."""
    with bags.BagWriter(path) as bag:
        rgb = np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
        rgb[BRIGHT] = 200
        depth_m = np.full(rgb.shape[:2], 0.6, np.float32)
        depth_m[BRIGHT] = 0.5
        stamp_ns = 12_000_000_034
        bag.write("/camera/image", bags.image_message(rgb, stamp_ns, "optical"), stamp_ns)
        camera = bags.camera_info_message(Intrinsics(50.0, 50.0, 32.0, 24.0), SIZE_WH, stamp_ns, "optical")
        bag.write("/camera/camera_info", camera, stamp_ns)
        bag.write("/camera/depth", bags.depth_message(depth_m, stamp_ns, "optical"), stamp_ns)
    return path


class Program:
    """A process whose output, stdout and stderr together, is read line by line."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        self.lines = []
        self._came = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        for line in self.process.stdout:
            with self._came:
                self.lines.append(line.rstrip("\n"))
                self._came.notify_all()

    def line(self, pattern, timeout_s=150):
        """Wait for the first match of a pattern in a line."""

        def found():
            return next((match for line in self.lines if (match := re.search(pattern, line))), None)

        with self._came:
            assert self._came.wait_for(found, timeout_s), f"no {pattern!r} in {self.lines}"
            return found()

    def ended(self):
        """Wait for the program to end; returns its exit status."""
        self.process.wait(150)
        return self.end()

    def end(self, number=None):
        if self.process.poll() is None:
            self.process.kill() if number is None else self.process.send_signal(number)
        self.process.wait(150)
        self._thread.join()
        self.process.stdout.close()
        return self.process.returncode


class Programs:
    """Processes in one ROS domain that are ended together."""

    def __init__(self, domain_id):
        self._environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONPATH": str(ROOT)}
        self._running = []

    def start(self, *command):
        """A Python script, or `-m`, and its arguments."""
        self._running.append(Program([sys.executable, "-u", *map(str, command)], self._environment))
        return self._running[-1]

    def node(self, *arguments):
        return self.start(NODE, "--ros-args", *CAMERA, "-p", "diagnostics_period_s:=0.2", *arguments)

    def player(self, bag):
        return self.start("-m", "reasonseg_ros.cli", "play", bag, "--hold", "5", "--restamp")

    def console(self, truth, *arguments):
        """The program and its address."""
        program = self.start("-m", "reasonseg_ros.cli", "console", "--port", "0", "--truth", truth, *arguments)
        return program, program.line(r"^console +(\S+)$")[1]

    def end(self):
        for program in self._running:
            program.end()

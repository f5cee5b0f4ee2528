"""A stream in which a bright square moves one pixel to the right per image, and models that track it.

Run as a process, it is the node with these models.
"""

import sys
import time

import numpy as np
from ros_client import LIMIT_S, image_of
from scripted_node import FailingMemorySegmenter, WordReasoner

from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.call import WAIT
from reasonseg_ros.reasoner.rounds import Keyframe
from reasonseg_ros.segmenter.scripted import ScriptedTracker
from reasonseg_ros.types import Frame, Status

PERIOD_NS = 100_000_000


class MovingReasoner(WordReasoner):
    """Also chooses which of several images shows the bright object."""

    frames = 4

    def choose(self, frames, text, call=WAIT):
        if "unicorn" in text:
            return Keyframe(Status.NO_TARGET)
        return Keyframe(Status.OK, 0, text, "it was there first")


class UnhurriedTracker(ScriptedTracker):
    """Takes `step_s` seconds for every image."""

    def __init__(self, step_s=0.0):
        super().__init__(lost_after_s=0.25)
        self.step_s = step_s

    def step(self, features, stamp_ns):
        time.sleep(self.step_s)
        return super().step(features, stamp_ns)


def load_moving(settings, report, step_s=0.0):
    return RevSeg(SegZero(MovingReasoner(), FailingMemorySegmenter("box"), settings), lambda: UnhurriedTracker(step_s))


def picture(number, size_wh=(64, 48)):
    rgb = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    left = number % 50
    rgb[10:20, left : left + 8] = 200
    return Frame(rgb, stamp_ns=number * PERIOD_NS)


class Stream:
    """Publishes images with increasing stamps through a client, also while waiting."""

    def __init__(self, client):
        self.client = client
        self.number = 0

    def show(self, count=1, **look):
        for _ in range(count):
            self.number += 1
            self.client.images.publish(image_of(picture(self.number, **look)))
            self.client.spin(0.03)

    def until(self, done, **look):
        deadline_s = time.monotonic() + LIMIT_S
        while not (value := done()):
            assert time.monotonic() < deadline_s, self.client.got["segmentation"]
            self.show(**look)
        return value


def number_of(answer):
    """Number of the image that an answer belongs to."""
    return (answer.header.stamp.sec * 10**9 + answer.header.stamp.nanosec) // PERIOD_NS


if __name__ == "__main__":
    from reasonseg_ros.ros.node import main

    sys.exit(main(sys.argv, load_moving))

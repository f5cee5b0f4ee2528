import math
import threading
import time
from types import SimpleNamespace

import pytest

from reasonseg_ros.live.stream import newest_image
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.types import Frame, Status
from test.live.following.test_propagation import picture


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(newest_image, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


def unloadable() -> Frame:
    raise AssertionError("nobody looks at it")


def test_an_image_counts_until_it_is_too_old_and_again_when_it_is_repeated(clock):
    newest, arrival = newest_image.NewestImage(threading.Condition()), Arrival(1, 0, unloadable)

    def waited(silent_s, max_age_s):
        return newest.wait(clock.s, silent_s, max_age_s, lambda: False)

    newest.show(arrival, is_newer=True)
    clock.s += 9.9
    assert waited(math.inf, 10.0) is arrival
    clock.s += 0.1
    assert waited(math.inf, 10.0) is None
    assert waited(math.inf, math.inf) is arrival
    reason = newest.why_none(5.0, math.inf, 10.0)
    assert "10.0 s ago" in reason
    assert "query.image_max_age_s" in reason
    newest.show(arrival, is_newer=False)  # a camera without a clock
    assert waited(math.inf, 10.0) is arrival
    assert waited(10.0, math.inf) is None
    assert "stamps" in newest.why_none(5.0, 10.0, math.inf)


@pytest.mark.parametrize(("max_age_s", "status"), [(0.1, Status.NO_FRAME), (0.0, Status.OK), (60.0, Status.OK)])
def test_a_question_after_the_camera_stopped(start, max_age_s, status):
    robot = start({"frame_wait_s": 0.05, "image_max_age_s": max_age_s})
    robot.show(picture(1))
    time.sleep(0.15)
    robot.ask()
    assert robot.wait(1).answer.status is status

"""Events of publishers and subscriptions: looked at now and then, and none is missed."""

import time

import pytest
import rclpy
from rclpy.event_handler import EventHandler
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from reasonseg_ros.ros.inputs.input_topic import subscribe
from reasonseg_ros.ros.process.events import PERIOD_S, RareEvents

LIMIT_S = 60.0
RELIABLE, BEST_EFFORT = (QoSProfile(depth=5, reliability=getattr(ReliabilityPolicy, name))
                         for name in ("RELIABLE", "BEST_EFFORT"))  # fmt: skip


@pytest.fixture
def node(context):
    node = rclpy.create_node("rare", context=context)
    yield node
    node.destroy_node()


@pytest.fixture
def spin_until(node, context):
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin_until(done):
        deadline_s = time.monotonic() + LIMIT_S
        while not done():
            assert time.monotonic() < deadline_s
            executor.spin_once(timeout_sec=0.1)

    yield spin_until
    executor.shutdown()


@pytest.fixture
def waits(monkeypatch):
    """The events that are waited for, one entry for each wait."""
    found = []
    add = EventHandler.add_to_wait_set

    def counted(self, wait_set):
        found.append(self)
        add(self, wait_set)

    monkeypatch.setattr(EventHandler, "add_to_wait_set", counted)
    return found


def test_most_waits_are_without_events_and_callbacks_come_as_before(node, spin_until, waits):
    RareEvents(node)
    node.create_publisher(String, "said", 5)
    ticks = []
    node.create_timer(0.002, lambda: ticks.append(time.monotonic()))
    spin_until(lambda: waits and ticks and ticks[-1] - ticks[0] > 2 * PERIOD_S)
    waits.clear()
    ticks.clear()
    spin_until(lambda: len(ticks) >= 500)
    looks = (ticks[-1] - ticks[0]) / PERIOD_S
    events = sum(isinstance(one, EventHandler) for one in node.waitables)
    assert events >= 2
    # At least one wait a tick, and at each look the wait that it ends and perhaps one before.
    assert events * max(1, int(looks / 4)) <= len(waits) <= 2 * events * (looks + 1) < 500 * events


@pytest.mark.parametrize("is_early", [True, False])
def test_events_are_noticed_of_what_was_made_before_and_after_the_first_look(node, spin_until, is_early):
    RareEvents(node)
    noticed = []
    arguments = (node, String, "said", lambda _: None, RELIABLE, lambda _: None, lambda: noticed.append(True))
    if is_early:
        subscribe(*arguments)
    start_s = time.monotonic()
    spin_until(lambda: time.monotonic() - start_s > 3 * PERIOD_S)
    if not is_early:
        subscribe(*arguments)
        spin_until(lambda: time.monotonic() - start_s > 6 * PERIOD_S)
    assert not noticed
    node.create_publisher(String, "said", BEST_EFFORT)
    spin_until(lambda: noticed)


def test_events_of_what_was_destroyed_do_not_end_the_spinning(node, spin_until):
    RareEvents(node)
    subscription = subscribe(node, String, "said", lambda _: None, RELIABLE, lambda _: None)
    publisher = node.create_publisher(String, "said", BEST_EFFORT)
    start_s = time.monotonic()
    spin_until(lambda: time.monotonic() - start_s > 2 * PERIOD_S)
    node.destroy_subscription(subscription)
    node.destroy_publisher(publisher)
    spin_until(lambda: time.monotonic() - start_s > 5 * PERIOD_S)

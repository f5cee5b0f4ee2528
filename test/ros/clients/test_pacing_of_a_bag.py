"""When messages of a bag are published, counted from the moment that their stamps count from."""

import time
from types import SimpleNamespace

import pytest

from reasonseg_ros.ros.playing.player import _play_timed

OPENING_S, PERIOD_S, COUNT = 0.2, 0.05, 3


class SlowBag:
    """A bag that takes long to open."""

    def records(self, topics):
        time.sleep(OPENING_S)
        topic = SimpleNamespace(name="/color")
        yield from (SimpleNamespace(topic=topic, stamp_ns=round(n * PERIOD_S * 1e9)) for n in range(COUNT))

    def shortfalls(self, topics):
        return {}


class Publishers:
    def __init__(self, rounds):
        self.begun_s, self.sent_s, self._rounds = [], [], rounds

    def begin(self, first_log_ns, rate):
        if len(self.begun_s) == self._rounds:
            raise KeyboardInterrupt
        self.begun_s.append(time.monotonic())

    def publish(self, record):
        self.sent_s.append(time.monotonic())

    def wait_for_delivery(self):
        pass


def test_no_message_is_published_before_its_new_stamp():
    """Else a stamp lies in the future, and a later round of a loop begins before the last stamp of the one before."""
    publishers = Publishers(rounds=2)
    with pytest.raises(KeyboardInterrupt):
        _play_timed(publishers, SlowBag(), ["/color"], 1.0, loop=True)
    stamps_s = [begun + n * PERIOD_S for begun in publishers.begun_s for n in range(COUNT)]
    assert len(publishers.sent_s) == len(stamps_s) == 2 * COUNT
    assert all(sent >= stamp - 0.005 for sent, stamp in zip(publishers.sent_s, stamps_s, strict=True))

"""The frames that wait for a late answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros.live.stream.frame_buffer import Arrival, FrameBuffer, thinned
from reasonseg_ros.types import Frame

SECOND_NS = 1_000_000_000


def arrival(stamp_s, size_bytes=10):
    stamp_ns = int(stamp_s * SECOND_NS)
    return Arrival(stamp_ns, size_bytes, lambda: Frame(np.zeros((2, 2, 3), np.uint8), stamp_ns))


def stamps_s(arrivals):
    return [item.stamp_ns / SECOND_NS for item in arrivals]


def test_only_the_last_seconds_are_held():
    buffer = FrameBuffer(max_s=2, max_bytes=1000)
    for second in range(6):
        assert buffer.add(arrival(second))
    assert stamps_s(buffer.after(-1)) == [3, 4, 5]
    assert stamps_s(buffer.after(4 * SECOND_NS)) == [5]
    assert buffer.size_bytes == 30


def test_bytes_are_limited_but_the_newest_image_is_always_held():
    buffer = FrameBuffer(max_s=100, max_bytes=25)
    for second in range(4):
        buffer.add(arrival(second))
    assert stamps_s(buffer.after(-1)) == [2, 3]
    buffer.add(arrival(4, size_bytes=90))
    assert stamps_s(buffer.after(-1)) == [4]
    assert buffer.size_bytes == 90


def test_a_repeated_or_earlier_stamp_is_not_kept():
    buffer = FrameBuffer(10, 1000)
    for second in (1, 2):
        buffer.add(arrival(second))
    assert not buffer.add(arrival(2))
    assert not buffer.add(arrival(1.5))
    assert stamps_s(buffer.after(-1)) == [1, 2]
    assert buffer.restarts == 0


def test_a_looping_bag_begins_again():
    buffer = FrameBuffer(10, 1000)
    for second in (5, 6, 1):
        assert buffer.add(arrival(second))
    assert stamps_s(buffer.after(-1)) == [1]
    assert buffer.restarts == 1
    buffer.clear()
    assert len(buffer) == buffer.size_bytes == 0
    assert buffer.restarts == 2


def test_a_sample_is_even_and_ends_with_the_newest():
    buffer = FrameBuffer(100, 10_000)
    assert buffer.sample(3, 5) == []
    for tenth in range(41):
        buffer.add(arrival(tenth / 10))
    assert stamps_s(buffer.sample(3, 2)) == [2, 3, 4]
    assert stamps_s(buffer.sample(3, 0)) == [4]


@given(st.integers(0, 60), st.integers(1, 60))
def test_thinning_keeps_order_ends_and_number(length, count):
    items = list(range(length))
    kept = thinned(items, count)
    assert kept == sorted(set(kept))
    assert len(kept) == min(length, count)
    if length:
        assert kept[-1] == items[-1]
        assert kept[0] == items[0] or count == 1


@pytest.mark.parametrize("stamp_s", [3, 4])
def test_nothing_comes_after_the_newest(stamp_s):
    buffer = FrameBuffer(10, 1000)
    buffer.add(arrival(3))
    assert buffer.after(stamp_s * SECOND_NS) == []


def test_a_loop_within_the_buffer_begins_again():
    buffer = FrameBuffer(10, 1000)
    for second in (1, 2, 3, 1):
        assert buffer.add(arrival(second))
    assert stamps_s(buffer.after(-1)) == [1]
    assert buffer.restarts == 1


def test_a_clock_set_back_a_little_begins_again_when_it_stays_behind():
    buffer = FrameBuffer(10, 1000)
    for tenth in range(9):
        buffer.add(arrival(5 + tenth / 10))
    kept = [buffer.add(arrival(5 + hundredth / 100)) for hundredth in range(20)]
    assert kept == [False] * 10 + [True] * 10
    assert buffer.restarts == 1


def test_a_stamp_that_always_repeats_never_begins_again():
    buffer = FrameBuffer(10, 1000)
    assert [buffer.add(arrival(0)) for _ in range(50)] == [True] + [False] * 49
    assert buffer.restarts == 0


def test_one_stamp_far_in_the_future_is_forgotten_at_the_next_image():
    buffer = FrameBuffer(10, 1000)
    for second in (1, 4_000_000_000, 2, 3):
        assert buffer.add(arrival(second))
    assert stamps_s(buffer.after(-1)) == [2, 3]

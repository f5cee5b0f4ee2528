"""Pairs of images and depth images, by stamps in milliseconds and a clock that only moves when reported."""

import random

import pytest

from reasonseg_ros.ros.inputs.synchroniser import MAX_MISSES, QUEUE_SIZE, Synchroniser

MS = 1_000_000


class Streams:
    """Sends both streams through a synchroniser with a tolerance of 15 ms and a wait of 100 ms."""

    def __init__(self, wait_s=0.1, tolerance_s=0.015):
        self.synchroniser = Synchroniser(tolerance_s, wait_s)
        self.now_s = 100.0

    def image(self, stamp_ms):
        return self._told(self.synchroniser.add_image(stamp_ms * MS, stamp_ms, self.now_s))

    def depth(self, stamp_ms):
        return self._told(self.synchroniser.add_depth(stamp_ms * MS, stamp_ms, self.now_s))

    def later(self, seconds):
        self.now_s += seconds
        return self._told(self.synchroniser.overdue(self.now_s))

    @staticmethod
    def _told(pairs):
        return [(pair.image, pair.depth) for pair in pairs]


@pytest.fixture
def streams():
    streams = Streams()
    streams.depth(0)  # there is depth
    assert streams.image(0) == [(0, 0)]
    return streams


def test_without_any_depth_no_image_waits():
    assert Streams().image(0) == [(0, None)]


def test_depth_may_come_before_or_after_its_image(streams):
    assert streams.depth(33) == []
    assert streams.image(33) == [(33, 33)]
    assert streams.image(66) == []
    assert streams.synchroniser.is_waiting
    assert streams.depth(66) == [(66, 66)]
    assert not streams.synchroniser.is_waiting


def test_the_nearest_depth_within_the_tolerance_is_taken(streams):
    streams.depth(90)
    streams.depth(104)
    assert streams.image(100) == [(100, 104)]
    streams.depth(116)
    streams.depth(150)
    assert streams.image(132) == [(132, None)]  # 16 and 18 ms away, and later depth only lies further off


def test_an_image_whose_depth_was_lost_goes_on_when_the_next_depth_comes(streams):
    assert streams.image(33) == []
    assert streams.image(66) == []
    assert streams.depth(66) == [(33, None), (66, 66)]


def test_an_image_waits_no_longer_than_the_limit(streams):
    streams.image(33)
    assert streams.later(0.09) == []
    assert streams.later(0.02) == [(33, None)]


def test_images_stop_waiting_for_depth_that_stopped_and_wait_again_when_it_is_back(streams):
    for number in range(1, MAX_MISSES + 1):
        assert streams.image(1000 * number) == []
        assert streams.later(0.2) == [(1000 * number, None)]
    assert streams.image(20_000) == [(20_000, None)]
    streams.now_s += 0.05
    assert streams.depth(20_000) == []  # a little late, but within the limit: worth waiting for again
    assert streams.image(20_033) == []
    assert streams.depth(20_033) == [(20_033, 20_033)]


def test_depth_that_is_always_late_delays_nothing_in_the_end_and_its_lag_is_reported(streams):
    for number in range(1, 40):
        streams.image(33 * number)
        streams.later(0.3)
        streams.depth(33 * number)
    assert streams.image(5000) == [(5000, None)]
    pairs = streams.synchroniser.add_image(5033 * MS, 5033, streams.now_s)
    assert pairs[0].lag_s == pytest.approx(0.3)


def test_repeated_stamps_each_get_the_depth_of_that_stamp(streams):
    """A player that holds an image sends image and depth again and again with the same stamp."""
    for _ in range(3):
        assert streams.image(0) == [(0, 0)]
        assert streams.depth(0) == []


def test_depth_that_stopped_is_not_used_on_and_on_if_stamps_repeat(streams):
    """A camera without a clock stamps everything 0."""
    streams.now_s += 0.9
    assert streams.image(0) == [(0, 0)]
    streams.now_s += 0.2
    assert streams.image(0) == []
    assert streams.later(0.2) == [(0, None)]
    assert streams.depth(0) == []
    assert streams.image(0) == [(0, 0)]


def test_depth_that_came_long_before_its_image_is_used_for_it_once(streams):
    streams.depth(33)
    streams.now_s += 5.0
    assert streams.image(33) == [(33, 33)]
    assert streams.image(33) == []
    assert streams.later(0.2) == [(33, None)]


def test_a_wide_tolerance_pairs_one_depth_with_all_images_of_that_time():
    streams = Streams(tolerance_s=3.0)
    streams.depth(0)
    for stamp_ms in range(0, 3001, 500):
        assert streams.image(stamp_ms) == [(stamp_ms, 0)]
        streams.now_s += 0.5


def test_a_looping_bag_is_paired_from_its_first_image_on(streams):
    for stamp_ms in (5000, 5033, 5066):
        streams.depth(stamp_ms)
        assert streams.image(stamp_ms) == [(stamp_ms, stamp_ms)]
    assert streams.image(500) == []  # what is kept of the bag's end does not count as passed
    assert streams.depth(500) == [(500, 500)]
    assert streams.depth(533) == []
    assert streams.image(533) == [(533, 533)]


def test_a_short_stream_that_begins_again_is_paired_though_its_end_is_newer():
    """The end of a round that is shorter than a second does not push out the beginning of the next one."""
    streams = Streams()
    for stamp_ms in range(100, 900, 50):
        streams.depth(stamp_ms)
        assert streams.image(stamp_ms) == [(stamp_ms, stamp_ms)]
    for stamp_ms in range(0, 100, 33):
        streams.depth(stamp_ms)
        assert streams.image(stamp_ms) == [(stamp_ms, stamp_ms)]


def test_images_that_wait_go_on_when_the_stream_begins_again_and_later_depth_is_forgotten(streams):
    streams.depth(5000)
    assert streams.image(5033) == []
    assert [pair.depth for pair in streams.synchroniser.begin_again(500 * MS, streams.now_s)] == [None]
    assert not streams.synchroniser.is_waiting
    assert streams.image(5000) == [(5000, None)]


def test_depth_of_the_new_round_that_comes_before_its_first_image_is_kept(streams):
    streams.depth(5000)
    streams.depth(500)
    streams.synchroniser.begin_again(500 * MS, streams.now_s)
    assert streams.image(500) == [(500, 500)]


def test_stamps_that_go_back_a_little_are_paired_all_the_same(streams):
    streams.depth(66)
    streams.depth(33)
    assert streams.image(66) == [(66, 66)]
    assert streams.image(33) == [(33, 33)]


def test_queues_are_bounded(streams):
    got = [pair for number in range(1, 100) for pair in streams.image(2000 * number)]
    assert [image for image, _ in got] == [2000 * number for number in range(1, len(got) + 1)]
    assert len(got) >= 99 - QUEUE_SIZE
    for number in range(1000):
        streams.depth(10**6 + 33 * number)
    assert len(streams.synchroniser._depths) == QUEUE_SIZE


@pytest.mark.parametrize("seed", range(5))
def test_whatever_arrives_each_image_comes_out_once_in_its_order_with_a_fitting_depth(seed):
    rng = random.Random(seed)
    streams, sent, got = Streams(), [], []
    for _ in range(400):
        stamp_ms = rng.choice((rng.randrange(100), rng.randrange(10_000), len(sent) * 33))
        streams.now_s += rng.choice((0, 0.01, 0.2))
        what = rng.random()
        if what < 0.5:
            sent.append(stamp_ms)
            got += streams.image(stamp_ms)
        elif what < 0.9:
            got += streams.depth(stamp_ms)
        else:
            got += streams.later(0)
    got += streams.later(1.0)
    assert [image for image, _ in got] == sent
    assert all(depth is None or abs(depth - image) <= 15 for image, depth in got)
    assert any(depth is not None for _, depth in got)


def test_a_wait_of_nothing_takes_only_what_is_there():
    streams = Streams(wait_s=0)
    streams.depth(0)
    assert streams.image(33) == [(33, None)]
    streams.depth(66)
    assert streams.image(66) == [(66, 66)]

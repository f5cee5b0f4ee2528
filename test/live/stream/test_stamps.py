"""Stamps of streams that go on, go back, and begin again."""

import pytest

from reasonseg_ros.live.stream.stamps import RESTART_COUNT, Stamps, Step

N, B, R = Step.NEWER, Step.BEHIND, Step.RESTART


@pytest.mark.parametrize(
    ("stamps_ms", "steps"),
    [
        ([0, 33, 66], [N, N, N]),
        ([100, 100, 66, 133], [N, B, B, N]),
        ([5000, 5033, 100, 133], [N, N, R, N]),
        ([100, 3_600_000, 133, 166], [N, N, R, N]),
        ([5000, *range(4500, 4501 + RESTART_COUNT)], [N, *[B] * RESTART_COUNT, R]),
        ([0] * 30, [N, *[B] * 29]),
    ],
)
def test_each_stamp_is_judged_by_those_before(stamps_ms, steps):
    stamps = Stamps()
    assert [stamps.step(stamp_ms * 1_000_000) for stamp_ms in stamps_ms] == steps


def test_after_forgetting_any_stamp_is_newer():
    stamps = Stamps()
    stamps.step(10**12)
    stamps.forget()
    assert stamps.step(5) is N

import pytest

from reasonseg_ros.agent.call_rate import CallRate
from reasonseg_ros.errors import InvalidInput


def test_calls_beyond_the_rate_are_refused_until_the_minute_has_passed():
    now_s = 100.0
    rate = CallRate(3, lambda: now_s)
    for _ in range(3):
        rate.take()
        now_s += 10
    with pytest.raises(InvalidInput, match="more than 3 calls in a minute; wait 30 s"):
        rate.take()
    now_s += 30  # a minute after the first one; the refused one has not counted
    rate.take()
    with pytest.raises(InvalidInput, match="wait 10 s"):
        rate.take()


@pytest.mark.parametrize("per_minute", [0, -1, 6001])
def test_a_rate_out_of_bounds_is_refused(per_minute):
    with pytest.raises(InvalidInput, match=f"--per-minute {per_minute}; expected 1 to 6000"):
        CallRate(per_minute)

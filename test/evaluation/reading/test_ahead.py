import threading
import time

import pytest

from reasonseg_ros.evaluation.reading.ahead import ahead

GENEROUS_S = 30


def wait_until(happened):
    end_s = time.monotonic() + GENEROUS_S
    while not happened():
        assert time.monotonic() < end_s
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("most", [0, 1, 3, 50])
def test_results_come_in_order(most):
    assert list(ahead(range(20), lambda n: n * n, most)) == [n * n for n in range(20)]


def test_no_more_is_done_ahead_than_asked_for():
    done = []
    stream = ahead(range(100), lambda n: done.append(n) or n, 3)
    assert next(stream) == 0
    wait_until(lambda: len(done) == 5)  # the one that was taken, three that wait, one in hand
    time.sleep(0.05)
    assert len(done) == 5
    stream.close()
    assert len(done) <= 7


def test_work_goes_on_while_the_results_are_used():
    second = threading.Event()
    for value in ahead([1, 2], lambda n: second.set() if n == 2 else n, 1):
        if value == 1:
            assert second.wait(GENEROUS_S)


@pytest.mark.parametrize("most", [0, 2])
def test_an_error_comes_where_its_result_would_have_come(most):
    def work(number):
        if number == 2:
            raise ValueError("two")
        return number

    stream = ahead(range(5), work, most)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(stream)


def test_an_error_of_the_items_comes_too():
    def items():
        yield 1
        raise OSError("torn")

    stream = ahead(items(), str, 2)
    assert next(stream) == "1"
    with pytest.raises(OSError, match="torn"):
        next(stream)


def test_stages_that_follow_one_another_end_together():
    closed = []

    def items():
        try:
            yield from range(1000)
        finally:
            closed.append(threading.current_thread().name)

    stream = ahead(ahead(items(), lambda n: n + 1, 2), lambda n: n * 10, 2)
    assert [next(stream), next(stream)] == [10, 20]
    stream.close()
    assert len(closed) == 1 and closed[0].startswith("ahead-")


def test_closing_cuts_the_work_in_hand_short():
    begun, closed = threading.Event(), threading.Event()

    def work(number):
        if number == 1:
            begun.set()
            assert closed.wait(GENEROUS_S)
        return number

    stream = ahead(range(9), work, 1, closed.set)
    assert next(stream) == 0 and begun.wait(GENEROUS_S) and not closed.is_set()
    stream.close()
    assert closed.is_set()

"""The embedded models on ONNX Runtime, one of whose runs or tokens fails: the answer says so, and the next is right."""

import os

import pytest

from reasonseg_ros.config import config_from
from reasonseg_ros.files.resources import resource
from reasonseg_ros.images.files import read_image
from reasonseg_ros.injection.fault import Fault, Injector
from reasonseg_ros.injection.ports import installed
from reasonseg_ros.types import Frame, Query, Status

MOST_CALLS = 200
EXPECTED = {"runtime_error": Status.FAILED, "memory_error": Status.OUT_OF_MEMORY}


@pytest.fixture(scope="module")
def method():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tokenizers")
    from reasonseg_ros.methods.loading import load_method

    values = {"method": "seg_zero", "segmenter.encode_beside": False, "reasoner.kept_frames": 0}
    return load_method(config_from(values))


@pytest.fixture(scope="module")
def ask(method):
    frame = Frame(read_image(resource("models/tabletop/known_picture.jpg")))
    method.segmenter.encode(frame.rgb)  # kept from here on, so that every question has the same number of runs
    return lambda: method.answer(frame, Query("the red one"))


def sampled(count):
    """The calls that fail: all of them, or the first, the middle and the last."""
    if os.environ.get("REASONSEG_EVERY_CALL") == "1":
        return range(1, min(count, MOST_CALLS) + 1)
    return sorted({1, (count + 1) // 2, count})


@pytest.mark.parametrize("port", ["engine_run", "token"])
def test_a_run_that_fails_costs_its_question_only(ask, port):
    with installed(Injector()) as counter:
        whole = ask()
    assert whole.status is Status.OK and counter.calls[port] > 10, counter.calls
    kinds = list(EXPECTED)
    for place, call in enumerate(sampled(counter.calls[port])):
        kind = kinds[place % 2]
        with installed(Injector(Fault(port, call, kind))) as injector:
            found = ask()
        assert injector.has_struck
        assert found.status is EXPECTED[kind] and "injected fault" in found.answer.error, (port, call, found.answer)
        assert not found.regions
    again = ask()
    assert (again.status, again.answer.raw_text) == (Status.OK, whole.answer.raw_text)


def test_a_hang_only_takes_time(ask):
    whole = ask()
    with installed(Injector(Fault("engine_run", 5, "hang", hang_s=0.05))) as injector:
        found = ask()
    assert injector.has_struck and found.answer.raw_text == whole.answer.raw_text

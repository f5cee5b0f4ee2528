"""The real node, one of whose ports fails or hangs at its Nth call: every question ends once, and the node lives.

In CI a sample of the calls fails; `REASONSEG_EVERY_CALL=1` has each of them fail, up to `MOST_CALLS`.
"""

import os

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from moving import Stream
from reasonseg_ros.action import Segment
from ros_client import image_of, value
from scripted_node import bright_frame

from reasonseg_ros.config.faults import FAULT_KINDS
from reasonseg_ros.injection.fault import Fault, Injector
from reasonseg_ros.injection.ports import installed
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter, ScriptedTracker

MOST_CALLS = 60
EVERY_CALL = os.environ.get("REASONSEG_EVERY_CALL") == "1"
HANG_S = 0.1
TEXT = '<think>It is bright.</think><answer>[{"bbox_2d": [30, 10, 50, 20], "point_2d": [40, 15]}]</answer>'
PORTS = {
    "token": {"ok", "failed", "out_of_memory"},
    "encode": {"ok", "failed", "out_of_memory"},
    "decode": {"ok", "failed", "out_of_memory"},
    "publish": {"ok"},
    "transform": {"ok"},
}
"""The statuses that a question may end with if this port fails."""


def load(settings, report):
    method = SegZero(ScriptedReasoner([TEXT]), ScriptedSegmenter("box"), settings)
    method.make_tracker = ScriptedTracker
    return method


@pytest.fixture
def asked(start_node, client):
    """Shows an image and asks a question; all answers to it, once another question is answered."""
    start_node(load=load)
    client.connect()
    number = 0

    def ask(query_id):
        nonlocal number
        number += 1
        client.images.publish(image_of(bright_frame(stamp_ns=number * 10**8)))
        client.diagnostic("camera", lambda status: int(value(status, "received")) >= number)
        return client.ask("the bright one", query_id)

    return ask


def sampled(count):
    """The calls that fail: all of them, or the first, the middle and the last."""
    most = min(count, MOST_CALLS)
    return range(1, most + 1) if EVERY_CALL else sorted({1, (most + 1) // 2, most})


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_every_question_ends_once_and_the_node_lives(asked, client, kind):
    with installed(Injector()) as counter:
        assert asked("whole").status == "ok"
    assert all(counter.calls[port] for port in PORTS), counter.calls
    for port, call in [(name, call) for name in PORTS for call in sampled(counter.calls[name])]:
        query_id = f"{port} {call} {kind}"
        with installed(Injector(Fault(port, call, kind, HANG_S))) as injector:
            status = asked(query_id).status
        # How many parts of a thought are published depends on the time that they take.
        assert injector.has_struck or (port == "publish" and call > 1)
        assert status in PORTS[port] and (kind != "hang" or status == "ok"), query_id
        if port in ("encode", "decode") and kind != "hang":
            assert status == ("out_of_memory" if kind == "memory_error" else "failed"), query_id
        assert asked(f"after {query_id}").status == "ok", "the node does not go on"
        ended = [one.status for one in client.got["segmentation"] if one.query_id == query_id]
        assert ended == [status], f"{len(ended)} answers to {query_id}"


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_a_tracker_that_fails_ends_its_goal_once(start_node, client, kind):
    start_node(load=load)
    client.connect()
    stream = Stream(client)
    stream.show()
    for call in (1, 2):
        with installed(Injector(Fault("tracker_step", call, kind, HANG_S))) as injector:
            goal = Segment.Goal(text="the bright one", query_id=f"{kind} {call}", mode="track", frames=3)
            handle, _ = client.feedback_of_goal(goal)
            result = handle.get_result_async()
            stream.until(result.done)
        assert injector.has_struck
        # A lost target is asked about again.
        statuses = {one.status for one in client.got["segmentation"] if one.query_id == goal.query_id}
        allowed = {"ok"} if kind == "hang" else {"ok", "lost", "failed", "out_of_memory"}
        assert statuses <= allowed, statuses
    client.images.publish(image_of(bright_frame(stamp_ns=10**12)))
    assert client.ask("the bright one", "after").status == "ok"


def test_a_node_is_broken_by_parameters_only_where_the_environment_allows_it(start_process, client, monkeypatch):
    faults = ["-p", "faults.port:=encode", "-p", "faults.call:=2", "-p", "faults.kind:=os_error"]
    script = ["test/ros/scripted_node.py", "--ros-args", "-p", "diagnostics_period_s:=0.1", *faults]
    monkeypatch.setenv("REASONSEG_FAULTS", "allow")
    start_process(*script)
    client.until(lambda: client.got["diagnostics"], 120)
    client.connect()
    client.images.publish(image_of(bright_frame(stamp_ns=1)))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    statuses = [client.ask("the bright one", f"q{number}").status for number in range(4)]
    assert statuses == ["ok", "failed", "ok", "ok"]


def test_a_fault_that_is_not_allowed_fails_the_configuration(start_node, client):
    start_node(faults__port="encode")
    status = client.diagnostic("node", lambda status: value(status, "state") == "unconfigured")
    assert "REASONSEG_FAULTS=allow" in status.message


def test_a_call_that_never_returns_ends_its_question_and_the_node_says_what_hangs(start_node, client):
    start_node(load=load, query__hang_s=0.5, query__image_max_age_s=0.0)
    client.connect()
    client.images.publish(image_of(bright_frame(stamp_ns=1)))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    with installed(Injector(Fault("encode", 1, "hang", 600.0))):
        answer = client.ask("the bright one", "hangs")
        assert answer.status == "failed" and answer.error.endswith("restart the node")
        status = client.diagnostic("questions", lambda status: status.level == DiagnosticStatus.ERROR)
        assert "the model hangs" in status.message
        assert client.ask("the bright one", "refused").status == "refused"
    client.diagnostic("questions", lambda status: status.level != DiagnosticStatus.ERROR)
    assert client.ask("the bright one", "after").status == "ok"

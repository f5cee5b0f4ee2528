"""Every question gets its one final message, whatever fails, overflows or ends meanwhile."""

import signal
import threading
import time
from functools import partial

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from reasonseg_ros.action import Segment
from ros_client import SCRIPT, image_of, value
from scripted_node import bright_frame, load
from std_msgs.msg import String
from std_srvs.srv import Trigger

from reasonseg_ros import msg, srv
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.types import Answer, Status

SUCCEEDED, CANCELED, ABORTED = 4, 5, 6
ALL = QoSProfile(history=HistoryPolicy.KEEP_ALL)


def fails(publisher, times):
    """Have a publisher fail so often before it works again."""
    publish, left = publisher.publish, [times]

    def failing(message):
        if left[0]:
            left[0] -= 1
            raise RuntimeError("no room in the transport")
        publish(message)

    publisher.publish = failing


@pytest.mark.parametrize("topic", ["segmentation", "reasoning"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_publisher_that_fails_loses_no_final_message(node, client, topic, times):
    fails(node._session.outputs._publishers[topic], times)
    client.queries.publish(msg.Query(text="the bright one", query_id="q"))
    client.until(lambda: [one for one in client.got["segmentation"] if one.status == "ok"])
    client.until(lambda: [one for one in client.got["reasoning"] if one.done and one.status == "ok"])
    client.spin(0.3)
    assert len(client.got["segmentation"]) == 1
    assert len([one for one in client.got["reasoning"] if one.done]) == 1
    status = client.diagnostic("questions", lambda status: value(status, f"failed to send: ~/{topic}"))
    assert int(value(status, f"failed to send: ~/{topic}")) >= 1


def test_services_and_goals_are_answered_while_no_publisher_works(node, client):
    for publisher in node._session.outputs._publishers.values():
        fails(publisher, 10_000)
    request = srv.SegmentImage.Request(text="the bright one", image=image_of(bright_frame()))
    assert client.call(srv.SegmentImage, "segment_image", request).segmentation.status == "ok"
    handle, _ = client.feedback_of_goal(Segment.Goal(text="the bright one"))
    assert client.result_of(handle).status == SUCCEEDED


def test_an_answer_that_can_never_be_sent_is_counted_and_the_next_ones_are_sent(node, client, monkeypatch):
    monkeypatch.setattr("reasonseg_ros.ros.publishing.outputs.TRIES", 2)
    fails(node._session.outputs._publishers["segmentation"], 2)
    client.queries.publish(msg.Query(text="the bright one", query_id="lost"))
    status = client.diagnostic("questions", lambda status: value(status, "lost: ~/segmentation: could not be sent"))
    assert status.level == DiagnosticStatus.WARN
    assert client.ask("the bright one", "next").status == "ok"


def test_diagnostics_that_fail_once_do_not_end_the_node(node, client):
    fails(node._diagnostics, 2)
    client.got["diagnostics"].clear()
    client.diagnostic("node", lambda status: True)
    assert client.ask("the bright one").status == "ok"


def test_an_answer_that_no_message_can_carry_is_a_failure_by_topic_service_and_goal(start_node, client):
    def load_unsendable(settings, report):
        method = load(settings, report)
        answer = Answer(Status.NO_TARGET)
        object.__setattr__(answer, "thought", "half a pair \ud83d")
        method.reasoner = ScriptedReasoner([answer])
        return method

    start_node(load=load_unsendable)
    client.connect()
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    request = srv.SegmentImage.Request(text="the bright one", image=image_of(bright_frame()))
    handle, _ = client.feedback_of_goal(Segment.Goal(text="the bright one"))
    answers = [
        client.ask("the bright one", "topic"),
        client.call(srv.SegmentImage, "segment_image", request).segmentation,
        client.result_of(handle).result.segmentation,
    ]
    for answer in answers:
        assert answer.status == "failed"
        assert "cannot be sent" in answer.error


def test_ninety_goals_cancelled_at_once_all_end_as_cancelled(start_node, client):
    start_node(query__queue_size=200)
    client.connect()
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    client.until(client.action.server_is_ready)
    handles = []
    for number in range(90):
        sent = client.action.send_goal_async(Segment.Goal(text="slow: the bright one", query_id=f"g{number}"))
        client.until(sent.done)
        handles.append(sent.result())
    # Sent without spinning in between; each result is asked for afterwards, as the client's own queues are short.
    for handle in handles:
        handle.cancel_goal_async()
    statuses = {}

    def all_cancelled(status):
        statuses["count"] = int(value(status, "ended: cancelled") or 0)
        return statuses["count"] == 90

    client.diagnostic("questions", all_cancelled)
    assert {client.result_of(handle).status for handle in handles} == {CANCELED}


def test_questions_that_come_all_at_once_are_all_answered(start_node, client):
    start_node(query__image_max_age_s=0.0)  # on a busy machine the last ones wait for longer than an image is new
    client.connect()
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    answered = []
    client.create_subscription(msg.Segmentation, "reasonseg/segmentation", answered.append, ALL)
    queries = client.create_publisher(msg.Query, "reasonseg/query", ALL)
    client.until(lambda: queries.get_subscription_count() and client.count_subscribers("reasonseg/segmentation") > 1)
    client.spin(0.5)
    for number in range(400):
        queries.publish(msg.Query(text="the bright one", query_id=f"n{number}"))
    client.until(lambda: len({one.query_id for one in answered}) == 400, timeout_s=300)
    assert {one.status for one in answered} == {"ok", "refused"}


FLOOD = """
import sys
import time
from pathlib import Path
import rclpy
from reasonseg_ros.msg import Query
rclpy.init()
publisher = rclpy.create_node("flood").create_publisher(Query, "reasonseg/query", 10)
while not Path(sys.argv[1]).exists():
    publisher.publish(Query(text="the bright one", query_id="hello"))
    time.sleep(0.5)
for _ in range(int(sys.argv[2])):
    publisher.publish(Query())
Path(sys.argv[1] + " of the end").touch()
time.sleep(600)
"""


def test_questions_beyond_the_queue_are_counted(node, client, start_process, tmp_path):
    """The publisher keeps 10 and the node is busy, so not all of these can arrive: each is answered or counted.

    The node does not count what was published before it found the publisher. So the flood starts after an answer.
    """
    count, start = 6000, tmp_path / "start"
    start_process("-c", FLOOD, start, str(count))
    client.until(lambda: [one for one in client.got["segmentation"] if one.query_id == "hello"])

    def be_busy():
        start.touch()
        deadline_s = time.monotonic() + 60
        while not (tmp_path / "start of the end").exists() and time.monotonic() < deadline_s:
            time.sleep(0.02)

    node._outbox.post(be_busy)

    def all_known(status):
        lost = int(value(status, "lost: ~/query: more came than its queue holds") or 0)
        return lost and lost + int(value(status, "ended: refused") or 0) == count

    client.diagnostic("questions", all_known, timeout_s=90)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_questions_that_run_and_wait_when_a_signal_comes_get_their_final_status(start_process, client, number):
    process = start_process(SCRIPT, "--ros-args", "-p", "diagnostics_period_s:=0.1")
    client.connect()
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    ask = client.create_client(srv.SegmentImage, "reasonseg/segment_image")
    client.until(ask.service_is_ready)
    client.queries.publish(msg.Query(text="slow: the bright one", query_id="running"))
    client.until(lambda: client.got["reasoning"])
    client.queries.publish(msg.Query(text="the bright one", query_id="waiting"))
    handle, _ = client.feedback_of_goal(Segment.Goal(text="the bright one", query_id="goal"))
    result = handle.get_result_async()
    called = ask.call_async(srv.SegmentImage.Request(text="the bright one", image=image_of(bright_frame())))
    client.diagnostic("questions", lambda status: value(status, "waiting") == "3")
    process.send_signal(number)
    ended = {"running", "waiting", "goal"}
    client.until(lambda: ended <= {one.query_id for one in client.got["segmentation"]})
    client.until(lambda: result.done() and called.done())
    assert {one.status for one in client.got["segmentation"]} == {"cancelled"}
    waited = [one.error for one in client.got["segmentation"] if one.query_id in ("waiting", "goal")]
    assert waited == ["the node stops"] * 2
    assert result.result().result.segmentation.status == called.result().segmentation.status == "cancelled"
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(("transition", "why"), [("deactivate", "deactivated"), ("shutdown", "shut down")])
def test_a_model_that_does_not_let_go_leaves_no_question_without_its_status(
    start_node, client, monkeypatch, transition, why
):
    monkeypatch.setattr("reasonseg_ros.ros.node.RELEASE_LIMIT_S", 0.2)
    node = start_node()
    client.connect()
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    let_go, returned = threading.Event(), threading.Event()

    def answer(*_, **__):
        let_go.wait(300)
        returned.set()
        return Answer(Status.NO_TARGET)

    node._session.worker.method.reasoner.answer = answer
    client.queries.publish(msg.Query(text="the bright one", query_id="stuck"))
    client.diagnostic("questions", lambda status: value(status, "running") == "stuck")
    monkeypatch.setattr(node._session.worker, "stop", partial(node._session.worker.stop, 0.2))
    assert client.transition(transition)
    answer = client.until(lambda: client.got["segmentation"])[0]
    assert (answer.query_id, answer.status) == ("stuck", "cancelled") and why in answer.error
    let_go.set()
    assert returned.wait(60)
    client.spin(0.5)
    assert len(client.got["segmentation"]) == 1


def test_the_last_answer_is_shown_to_who_listens_later(node, client):
    for query_id in ("first", "second"):
        assert client.ask("the bright one", query_id).status == "ok"
    client.texts.publish(String(data="the unicorn"))
    client.until(lambda: client.got["segmentation"][-1].status == "no_target")
    late = {}
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    for name, kind in (("segmentation", msg.Segmentation), ("reasoning", msg.Reasoning)):
        late[name] = []
        client.create_subscription(kind, f"reasonseg/{name}", late[name].append, latched)
    client.until(lambda: all(late.values()))
    client.spin(0.3)
    assert [one.status for one in late["segmentation"]] == ["no_target"]
    assert [(one.status, one.done) for one in late["reasoning"]] == [("no_target", True)]


def test_an_error_in_a_callback_does_not_end_the_process(start_process, client, tmp_path):
    script = tmp_path / "node.py"
    script.write_text(
        f"""import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
from pathlib import Path
from scripted_node import load
from reasonseg_ros.ros import node, questions
def fail(self, *_):
    Path({str(tmp_path / "called")!r}).touch()
    raise OSError("no space left on device")
questions.Questions._on_clear = fail
sys.exit(node.main(sys.argv, load))
"""
    )
    process = start_process(script, "--ros-args", "-p", "diagnostics_period_s:=0.1")
    client.connect()
    clear = client.create_client(Trigger, "reasonseg/clear")
    client.until(clear.service_is_ready)
    clear.call_async(Trigger.Request())
    client.until((tmp_path / "called").exists)
    client.images.publish(image_of(bright_frame()))
    assert client.ask("the bright one").status == "ok"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert "no space left on device" in errors

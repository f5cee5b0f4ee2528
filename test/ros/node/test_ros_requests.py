"""The action and the services of the node: a goal, an image, a prompt, proposals."""

import pytest
from reasonseg_ros.action import Segment
from ros_client import image_of, value
from sample_images import bad_images
from scripted_node import bright_frame
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from reasonseg_ros import msg, srv
from reasonseg_ros.ros.conversion import masks_from

SUCCEEDED, CANCELED, ABORTED = 4, 5, 6


def test_action_gives_feedback_and_result(node, client):
    # The first feedback may be lost while the two ends still find each other, so the goal is sent until it is not.
    order = ["waiting", "reasoning", "segmenting"]
    stages = []
    while set(stages) != set(order):
        handle, feedback = client.feedback_of_goal(Segment.Goal(text="brief: the bright one", query_id="a"))
        result = client.result_of(handle)
        client.spin(0.1)
        stages = [part.stage for part in feedback]
        assert stages == sorted(stages, key=order.index)
    assert result.status == SUCCEEDED
    assert result.result.segmentation.status == "ok"
    assert result.result.segmentation.query_id == "a"


def test_action_looks_at_the_image_in_the_goal(node, client):
    frame = bright_frame(stamp_ns=5_000_000_000)
    handle, _ = client.feedback_of_goal(Segment.Goal(text="the bright one", image=image_of(frame)))
    assert client.result_of(handle).result.segmentation.header.stamp.sec == 5


def test_action_cancel_acts_between_tokens(node, client):
    handle, feedback = client.feedback_of_goal(Segment.Goal(text="slow: the bright one"))
    client.until(lambda: any(part.thought and part.tokens for part in feedback))
    cancelled = handle.cancel_goal_async()
    client.until(cancelled.done)
    result = client.result_of(handle)
    assert result.status == CANCELED
    assert result.result.segmentation.status == "cancelled"
    assert result.result.segmentation.total_s < 60.0


def test_a_waiting_goal_is_cancelled_at_once(node, client):
    client.texts.publish(String(data="slow: the bright one"))
    client.until(lambda: client.got["reasoning"])
    handle, _ = client.feedback_of_goal(Segment.Goal(text="the bright one"))
    client.until(handle.cancel_goal_async().done)
    result = client.result_of(handle)
    assert result.status == CANCELED
    assert not any(last.status for last in client.got["reasoning"] if last.query_id == "q1")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"time_limit_s": float("nan")}, "time_limit_s"),
        ({"time_limit_s": -1.0}, "time_limit_s"),
        ({"max_new_tokens": 4_000_000_000}, "max_new_tokens"),
        ({"text": ""}, "empty"),
        ({"image": Image(height=3, width=3, encoding="rgb8")}, "wrong step"),
    ],
)
def test_a_bad_goal_is_aborted_with_its_reason(node, client, fields, reason):
    handle, _ = client.feedback_of_goal(Segment.Goal(**{"text": "the bright one", **fields}))
    result = client.result_of(handle)
    assert result.status == ABORTED
    assert result.result.segmentation.status == "refused"
    assert reason in result.result.segmentation.error


def test_services_answer_while_the_model_thinks(node, client):
    client.texts.publish(String(data="slow: the bright one"))
    client.until(lambda: client.got["reasoning"])
    ask = client.create_client(srv.SegmentImage, "reasonseg/segment_image")
    client.until(ask.service_is_ready)
    waiting = ask.call_async(srv.SegmentImage.Request(text="the bright one", image=image_of(bright_frame(7))))
    assert client.set(output__overlay_alpha=0.25) == [""]
    client.diagnostic("questions", lambda status: value(status, "running") == "q1" and value(status, "waiting") == "1")
    assert not waiting.done()
    assert client.call(Trigger, "clear", Trigger.Request()).message == "2 questions cleared"
    client.until(waiting.done)
    assert waiting.result().segmentation.status == "cancelled"


def test_two_waiting_service_calls_both_get_their_own_answer(node, client):
    ask = client.create_client(srv.SegmentImage, "reasonseg/segment_image")
    client.until(ask.service_is_ready)
    first = ask.call_async(srv.SegmentImage.Request(text="the bright one", image=image_of(bright_frame(7))))
    second = ask.call_async(srv.SegmentImage.Request(text="the unicorn", image=image_of(bright_frame(8))))
    client.until(lambda: first.done() and second.done())
    answers = first.result().segmentation, second.result().segmentation
    assert [(answer.status, answer.header.stamp.nanosec) for answer in answers] == [("ok", 7), ("no_target", 8)]


def test_segment_image_refuses_a_damaged_image(node, client):
    for reason, image in bad_images():
        request = srv.SegmentImage.Request(text="the bright one", image=image)
        answer = client.call(srv.SegmentImage, "segment_image", request).segmentation
        assert answer.status == "refused"
        assert reason in answer.error
    request = srv.SegmentImage.Request(text="the bright one", image=image_of(bright_frame()))
    assert client.call(srv.SegmentImage, "segment_image", request).segmentation.status == "ok"


def test_propose_segments_everything_without_a_question(node, client):
    answer = client.call(srv.Propose, "propose", srv.Propose.Request()).segmentation
    assert (answer.status, answer.header.stamp.nanosec, answer.reasoning_s) == ("ok", 34, 0)
    dark, bright = masks_from(answer)  # the largest first
    assert dark.sum() + bright.sum() == dark.size
    assert bright.sum() == pytest.approx(200, abs=20)
    request = srv.Propose.Request(image=image_of(bright_frame(9)))
    answer = client.call(srv.Propose, "propose", request).segmentation
    assert (answer.status, answer.header.stamp.nanosec, len(answer.regions)) == ("ok", 9, 2)


def test_prompt_segments_without_the_reasoner(node, client):
    boxes = [msg.Box(x1=2.0, y1=3.0, x2=12.0, y2=9.0), msg.Box(x1=60.0, y1=40.0, x2=99.0, y2=99.0)]
    request = srv.Prompt.Request(boxes=boxes)
    answer = client.call(srv.Prompt, "prompt", request).segmentation
    assert answer.status == "ok"
    assert answer.header.stamp.nanosec == 34
    assert answer.reasoning_s == 0
    assert [int(mask.sum()) for mask in masks_from(answer)] == [60, 32]
    points = [msg.Point2D(x=4.0, y=4.0)]
    request = srv.Prompt.Request(boxes=boxes[:1], points=points, image=image_of(bright_frame(9)))
    answer = client.call(srv.Prompt, "prompt", request).segmentation
    assert (answer.header.stamp.nanosec, answer.regions[0].points_inside) == (9, 1.0)
    request = srv.Prompt.Request(points=[msg.Point2D(x=4.5, y=4.5), msg.Point2D(x=64.5, y=-1.0)])
    answer = client.call(srv.Prompt, "prompt", request).segmentation
    assert [(region.box_iou, region.points_inside) for region in answer.regions] == [(1.0, 1.0), (1.0, 1.0)]
    assert [(region.box.x1, region.box.y1) for region in answer.regions] == [(4, 4), (63, 0)]


@pytest.mark.parametrize(
    ("boxes", "points", "reason"),
    [
        ([], [], "neither box nor point"),
        ([], [msg.Point2D(x=float("nan"))], "finite"),
        ([], [msg.Point2D(x=4.5, y=4.5), msg.Point2D(x=999.0, y=-3.0)], "point 999, -3 lies outside the 64 x 48 image"),
        ([msg.Box(x1=-9.0, y1=0.0, x2=-1.0, y2=5.0)], [], "inside the 64 x 48 image"),
        ([msg.Box(x1=float("nan"), x2=3.0, y2=3.0)], [], "inside"),
        ([msg.Box(x1=9.0, y1=1.0, x2=3.0, y2=5.0)], [], "expected finite x1 < x2 and y1 < y2"),
        ([msg.Box(x1=1.0, y1=5.0, x2=3.0, y2=5.0)], [], "expected finite x1 < x2 and y1 < y2"),
        ([msg.Box(x2=3.0, y2=3.0)], [msg.Point2D()] * 2, "2 points for 1 boxes"),
        ([msg.Box(x2=3.0, y2=3.0)], [msg.Point2D(x=float("inf"))], "finite"),
    ],
)
def test_a_bad_prompt_is_refused(node, client, boxes, points, reason):
    answer = client.call(srv.Prompt, "prompt", srv.Prompt.Request(boxes=boxes, points=points)).segmentation
    assert answer.status == "refused"
    assert reason in answer.error

"""Targets followed over the topics and the action of the real node, on good streams and on bad ones."""

from functools import partial

import numpy as np
import pytest
from moving import PERIOD_NS, Stream, load_moving, number_of, picture
from reasonseg_ros.action import Segment
from ros_client import image_of, value
from std_srvs.srv import SetBool, Trigger

from reasonseg_ros import msg
from reasonseg_ros.ros.conversion import header_message, masks_from, pixels_message
from reasonseg_ros.types import Frame

SUCCEEDED, CANCELED, ABORTED = 4, 5, 6


@pytest.fixture
def start(start_node, client):
    def start(load=load_moving, **values):
        start_node(load=load, **values)
        client.connect()
        stream = Stream(client)
        stream.show()
        client.diagnostic("camera", lambda status: value(status, "received") == "1")
        return stream

    return start


def left_px(answer):
    return int(np.nonzero(masks_from(answer)[0].any(axis=0))[0][0])


def answers(client, query_id):
    return [answer for answer in client.got["segmentation"] if answer.query_id == query_id]


def statuses(client, query_id):
    return [answer.status for answer in answers(client, query_id)]


def follow(client, stream, query_id="t", text="the bright one", mode="track", frames=0, count=2):
    """Ask a question that goes on, and wait for its first answers."""
    client.queries.publish(msg.Query(text=text, query_id=query_id, mode=mode, frames=frames))
    stream.until(lambda: len(answers(client, query_id)) >= count)


def test_a_goal_that_tracks_ends_after_its_number_of_frames(start, client):
    stream = start()
    handle, feedback = client.feedback_of_goal(
        Segment.Goal(text="brief: the bright one", query_id="g", mode="track", frames=4)
    )
    result = handle.get_result_async()
    stream.until(result.done)
    assert result.result().status == SUCCEEDED
    client.until(lambda: len(answers(client, "g")) == 4)
    reported = answers(client, "g")
    assert result.result().result.segmentation == reported[-1]
    numbers = [number_of(answer) for answer in reported]
    assert numbers == sorted(set(numbers))
    assert [left_px(answer) for answer in reported] == numbers
    assert {answer.regions[0].track_id for answer in reported} == {1}
    assert reported[-1].regions[0].track_state == "tracked"
    assert {part.stage for part in feedback} == {"waiting", "reasoning", "segmenting", "catching_up"}
    assert max(part.tokens for part in feedback) > 0
    stream.show(3)
    assert len(answers(client, "g")) == 4
    client.diagnostic("questions", lambda status: value(status, "followed") == value(status, "standing") == "0")


def test_a_goal_that_follows_ends_when_it_is_cancelled(start, client):
    stream = start()
    handle, _ = client.feedback_of_goal(Segment.Goal(text="the bright one", query_id="g", mode="track"))
    stream.until(lambda: len(answers(client, "g")) >= 3)
    cancelled = handle.cancel_goal_async()
    stream.until(cancelled.done)
    result = client.result_of(handle)
    assert (result.status, result.result.segmentation.status) == (CANCELED, "cancelled")
    client.until(lambda: statuses(client, "g")[-1] == "cancelled")
    count = len(answers(client, "g"))
    stream.show(5)
    assert len(answers(client, "g")) == count


def test_a_question_that_follows_goes_on_until_cleared(start, client):
    stream = start()
    follow(client, stream, count=5)
    assert set(statuses(client, "t")) == {"ok"}
    assert len({answer.regions[0].track_id for answer in answers(client, "t")}) == 1
    assert client.call(Trigger, "clear", Trigger.Request()).message == "1 questions cleared"
    client.until(lambda: statuses(client, "t")[-1] == "cancelled")


def test_what_happened_is_asked_over_the_topic_and_the_action(start, client):
    stream = start(stream__buffer_hz=1000.0)
    stream.show(9)
    client.diagnostic("camera", lambda status: value(status, "received") == "10")
    answer = client.ask("what was there first?", "h", mode="history")
    assert (answer.status, number_of(answer), left_px(answer)) == ("ok", 10, 10)
    assert answer.reasoned_stamp.nanosec == PERIOD_NS
    assert "it was there first" in answer.thought
    stages = set()
    while "reasoning" not in stages:  # feedback may be lost while the two ends still find each other
        handle, feedback = client.feedback_of_goal(Segment.Goal(text="the unicorn", mode="history"))
        result = client.result_of(handle)
        assert (result.status, result.result.segmentation.status) == (SUCCEEDED, "no_target")
        client.spin(0.1)
        stages = {part.stage for part in feedback}


def test_a_bag_that_loops_is_reported_and_tracking_continues(start, client):
    stream = start()
    stream.show(20)
    follow(client, stream)
    stream.number = 0
    stream.until(lambda: "lost" in statuses(client, "t") and statuses(client, "t")[-1] == "ok")
    assert "began again" in next(answer.error for answer in answers(client, "t") if answer.status == "lost")
    stream.until(lambda: number_of(answers(client, "t")[-1]) < 20)

    def final():
        return [one for one in client.got["reasoning"] if one.query_id == "t" and one.done]

    client.until(lambda: len(final()) >= 3)
    assert [one.status for one in final()] == ["ok", "lost", "ok"]
    assert "began again" in final()[1].error


@pytest.mark.parametrize("repeats", [True, False])
def test_a_camera_that_stops_or_repeats_its_stamp_ends_a_goal(start, client, repeats):
    stream = start(camera__silent_error_s=0.5, query__frame_wait_s=0.2)
    handle, _ = client.feedback_of_goal(Segment.Goal(text="the bright one", query_id="g", mode="track"))
    stream.until(lambda: len(answers(client, "g")) >= 2)
    if repeats:
        for _ in range(5):
            client.images.publish(image_of(picture(stream.number)))
        client.diagnostic("camera", lambda status: value(status, "dropped: stamp not newer") == "5")
    result = client.result_of(handle)
    assert (result.status, result.result.segmentation.status) == (ABORTED, "no_frame")
    assert "no newer image" in result.result.segmentation.error


def test_tracking_continues_over_another_encoding_and_another_size_is_asked_about_again(start, client):
    stream = start()
    follow(client, stream)
    for encoding in ("bgr8", "mono8"):
        stream.number += 1
        frame = picture(stream.number)
        pixels = np.ascontiguousarray(frame.rgb[:, :, 0]) if encoding == "mono8" else frame.rgb
        message = pixels_message(header_message(frame), pixels)
        message.encoding = encoding
        client.images.publish(message)
        client.until(lambda: number_of(answers(client, "t")[-1]) == stream.number)
    assert set(statuses(client, "t")) == {"ok"}
    count = len(answers(client, "t"))
    stream.until(lambda: len(answers(client, "t")) >= count + 3, size_wh=(80, 60))
    reported = answers(client, "t")[count:]
    assert [answer.status for answer in reported[:3]] == ["lost", "ok", "ok"]
    assert "image size" in reported[0].error
    assert (reported[2].width, reported[2].height) == (80, 60)


def test_a_query_about_an_image_of_long_ago(start, client):
    stream = start()
    stream.show(5)
    old = picture(3)
    handle, _ = client.feedback_of_goal(Segment.Goal(text="the bright one", image=image_of(old)))
    answer = client.result_of(handle).result.segmentation
    assert (answer.status, number_of(answer), left_px(answer)) == ("ok", 3, 3)
    handle, _ = client.feedback_of_goal(Segment.Goal(text="the bright one", mode="track", image=image_of(old)))
    result = client.result_of(handle)
    assert (result.status, result.result.segmentation.status) == (ABORTED, "refused")
    assert "an image in the request" in result.result.segmentation.error


def test_fifty_questions_that_follow_are_taken_or_refused_and_all_end(start, client):
    stream = start(output__depth=1000)
    queries = client.create_publisher(msg.Query, "reasonseg/query", 50)
    client.until(queries.get_subscription_count)
    for number in range(50):
        mode = ("track", "watch", "once", "history")[number % 4]
        queries.publish(msg.Query(text="the bright one", query_id=f"{number}", mode=mode))
    stream.until(lambda: len({answer.query_id for answer in client.got["segmentation"]}) == 50)
    stream.show(5)
    client.call(Trigger, "clear", Trigger.Request())
    ends = ("ok", "refused", "cancelled")
    last = {}

    def all_ended():
        last.update({answer.query_id: answer for answer in client.got["segmentation"]})
        return all(last[f"{n}"].status in (ends[1:] if n % 4 < 2 else ends) for n in range(50))

    client.until(all_ended)
    assert {answer.status for answer in last.values()} == set(ends)
    assert all("wait or stand" in answer.error for answer in last.values() if answer.status == "refused")
    idle = dict.fromkeys(("standing", "followed", "waiting"), "0")
    client.diagnostic("questions", lambda status: {name: value(status, name) for name in idle} == idle)


def test_disabled_while_it_follows_rests_and_enabled_goes_on(start, client):
    stream = start()
    follow(client, stream)
    assert client.call(SetBool, "enable", SetBool.Request(data=False)).success
    client.spin(0.2)
    count = len(answers(client, "t"))
    stream.show(5)
    assert len(answers(client, "t")) == count
    client.call(SetBool, "enable", SetBool.Request(data=True))
    stream.until(lambda: len(answers(client, "t")) >= count + 2)
    assert left_px(answers(client, "t")[-1]) == number_of(answers(client, "t")[-1])


def test_deactivated_and_cleaned_up_while_it_catches_up(start, client):
    stream = start(load=partial(load_moving, step_s=0.3), stream__buffer_hz=1000.0, stream__catch_up_s=30.0)
    handle, feedback = client.feedback_of_goal(Segment.Goal(text="brief: the bright one", query_id="g", mode="track"))
    stream.until(lambda: any(part.stage == "catching_up" for part in feedback))
    assert client.transition("deactivate")
    assert client.transition("cleanup")
    result = client.result_of(handle)
    assert (result.status, result.result.segmentation.status) == (ABORTED, "cancelled")
    assert "deactivated" in result.result.segmentation.error
    assert client.transition("configure")
    assert client.transition("activate")
    client.connect()
    follow(client, stream, "again")
    assert set(statuses(client, "again")) == {"ok"}


def test_depth_that_lags_or_has_another_size_leaves_the_masks_to_flow(start, client):
    stream = start(camera__depth_wait_s=0.05)
    depth = image_of(Frame(np.zeros((24, 32, 3), np.uint8), 0))
    depth.encoding, depth.step, depth.data = "16UC1", 64, np.full((24, 32), 900, np.uint16).tobytes()

    def warnings_after(lag):
        count = len(answers(client, "t"))

        def reported():
            depth.header = header_message(picture(max(stream.number + 1 - lag, 0)))
            client.depths.publish(depth)
            return len(answers(client, "t")) >= count + 5

        stream.until(reported)
        return [answer.warning_3d for answer in answers(client, "t")[count:] if answer.status == "ok"]

    follow(client, stream)
    assert any("32 x 24" in warning for warning in warnings_after(0))
    assert any("no depth image within" in warning for warning in warnings_after(8))
    assert set(statuses(client, "t")) == {"ok"}

"""The node over real topics, services and the action, with scripted models."""

import gc

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from reasonseg_ros.action import Segment
from ros_client import image_of, value
from scripted_node import bright_frame
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from reasonseg_ros import msg, srv
from reasonseg_ros.config import METHODS
from reasonseg_ros.images.messages import rgb_from_compressed
from reasonseg_ros.ros.conversion import header_message, masks_from, pixels_message
from reasonseg_ros.types import Frame

SUCCEEDED, CANCELED, ABORTED = 4, 5, 6


def test_a_plain_text_question_gets_masks_with_the_images_header(node, client):
    client.texts.publish(String(data="Where is the bright one?"))
    answer = client.until(lambda: client.got["segmentation"])[0]
    assert (answer.status, answer.thought, answer.error) == ("ok", "the bright one", "")
    assert (answer.header.stamp.sec, answer.header.stamp.nanosec, answer.header.frame_id) == (12, 34, "camera")
    assert (answer.width, answer.height, answer.query_id) == (64, 48, "q1")
    expected = bright_frame().rgb[:, :, 0] > 0
    np.testing.assert_array_equal(masks_from(answer)[0], expected)
    client.until(lambda: client.got["label_mask"] and client.got["confidence"])
    label, confidence = client.got["label_mask"][0], client.got["confidence"][0]
    assert label.header == confidence.header == answer.header
    assert label.encoding == "mono8"
    np.testing.assert_array_equal(np.frombuffer(label.data, np.uint8).reshape(48, 64), expected)
    assert set(np.unique(confidence.data)) == {0, round(0.9 * 255)}


def test_nothing_fits_is_a_result_with_an_empty_label_mask(node, client):
    answer = client.ask("the unicorn", "u")
    assert (answer.status, answer.query_id, len(answer.regions)) == ("no_target", "u", 0)
    client.until(lambda: client.got["label_mask"])
    assert not np.any(client.got["label_mask"][0].data)


@pytest.mark.parametrize(
    ("text", "status", "error"),
    [
        ("", "refused", "empty"),
        ("  \n ", "refused", "empty"),
        ("x" * 2001, "refused", "2001 characters"),
        ("bell \x07", "refused", "U+0007"),
        ("boom", "failed", "RuntimeError: the model fell over"),
        ("too much memory", "out_of_memory", "no memory"),
    ],
)
def test_a_failure_has_its_status_and_reason_and_the_next_question_works(node, client, text, status, error):
    answer = client.ask(text)
    assert answer.status == status
    assert error in answer.error
    assert not answer.regions
    client.spin(0.1)
    assert not client.got["label_mask"]  # a failure is never an empty result
    assert client.ask("the bright one").status == "ok"


def test_out_of_memory_while_segmenting(node, client):
    frame = bright_frame()
    frame.rgb[0, 0] = 255
    client.images.publish(image_of(frame))
    client.diagnostic("camera", lambda status: value(status, "received") == "2")
    assert client.ask("the bright one").status == "out_of_memory"
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: value(status, "received") == "3")
    assert client.ask("the bright one").status == "ok"


def test_unknown_mode_and_over_long_id_are_refused(node, client):
    assert "mode 'sometimes'" in client.ask("the bright one", mode="sometimes").error
    assert "query_id" in client.ask("the bright one", query_id="i" * 300).error


def test_without_a_frame_the_question_waits_and_then_says_so(start_node, client):
    start_node()
    client.connect()
    answer = client.ask("the bright one")
    assert answer.status == "no_frame"
    assert "0.3 s" in answer.error
    assert answer.total_s >= 0.3
    assert (answer.header.stamp.sec, answer.header.stamp.nanosec, answer.width) == (0, 0, 0)


def test_a_frame_that_comes_while_the_question_waits_is_used(start_node, client):
    start_node(query__frame_wait_s=5.0)
    client.connect()
    client.texts.publish(String(data="the bright one"))
    client.spin(0.2)
    client.images.publish(image_of(bright_frame()))
    assert client.until(lambda: client.got["segmentation"])[0].status == "ok"


def bad_images():
    good = image_of(bright_frame())
    cases = {
        "truncated image": {"data": good.data[:-100]},
        "wrong step": {"step": 10},
        "zero size": {"height": 0, "width": 0, "step": 0, "data": b""},
        "unknown encoding": {"encoding": "rgb33"},
        "depth encoding": {"encoding": "32FC1", "step": 256, "data": np.full(48 * 64, np.nan, np.float32).tobytes()},
    }
    for reason, fields in cases.items():
        image = image_of(bright_frame())
        for name, content in fields.items():
            setattr(image, name, content)
        yield reason, image


def test_each_bad_image_is_dropped_and_counted_with_its_reason_and_the_node_lives(node, client):
    for reason, image in bad_images():
        client.images.publish(image)
        status = client.diagnostic("camera", lambda status, reason=reason: value(status, f"dropped: {reason}") == "1")
        assert reason in status.message or status.level == DiagnosticStatus.OK
    assert client.ask("the bright one").status == "ok"


def test_depth_that_is_all_nan_is_told_and_counted(node, client):
    depth = image_of(bright_frame())
    depth.encoding, depth.step = "32FC1", 256
    depth.data = np.full((48, 64), np.nan, np.float32).tobytes()
    client.depths.publish(depth)
    client.diagnostic("depth", lambda status: value(status, "received") == "1")
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: value(status, "received") == "2")
    assert "empty depth" in client.ask("the bright one").warning_3d
    client.diagnostic("depth", lambda status: value(status, "problem: empty depth") == "1")


def test_depth_and_intrinsics_of_the_same_stamp_come_with_the_frame(node, client):
    frame = bright_frame(stamp_ns=99)
    depth = image_of(frame)
    depth.encoding, depth.step, depth.data = "16UC1", 128, np.full((48, 64), 1500, np.uint16).tobytes()
    info = CameraInfo(width=64, height=48, k=[50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0])
    client.until(client.infos.get_subscription_count)
    client.infos.publish(info)
    client.depths.publish(depth)
    client.spin(0.2)
    client.images.publish(image_of(frame))
    client.diagnostic("camera", lambda status: value(status, "received") == "2")
    seen = []
    method = node._session.worker.method
    answer = method.reasoner.answer
    method.reasoner.answer = lambda frame, *args, **kwargs: seen.append(frame) or answer(frame, *args, **kwargs)
    client.ask("the bright one")
    assert seen[0].intrinsics.fx_px == 50.0
    assert seen[0].depth_m[0, 0] == np.float32(1.5)


def test_camera_silence_is_a_warning_then_an_error_and_passes(start_node, client):
    start_node(camera__silent_warn_s=0.4, camera__silent_error_s=1.0)
    client.connect()
    levels = []
    while not levels or levels[-1] != DiagnosticStatus.ERROR:
        levels.append(client.diagnostic("camera", lambda status: True).level)
    assert DiagnosticStatus.WARN in levels
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: status.level == DiagnosticStatus.OK)


def test_diagnostics_name_models_and_the_last_answer(node, client):
    status = client.diagnostic("node", lambda status: value(status, "state") == "active")
    assert status.level == DiagnosticStatus.OK
    assert (value(status, "reasoner"), value(status, "segmenter")) == ("word-reasoner", "scripted box")
    assert value(status, "method") in METHODS and int(value(status, "memory, MB")) > 10
    client.ask("boom", "b")
    status = client.diagnostic("questions", lambda status: value(status, "last_query_id") == "b")
    assert status.level == DiagnosticStatus.WARN
    assert value(status, "ended: failed") == "1"


def test_the_thought_is_streamed_and_ends_done(node, client):
    client.texts.publish(String(data="slow: the bright one"))
    client.until(lambda: len(client.got["reasoning"]) >= 4)
    client.call(Trigger, "clear", Trigger.Request())
    client.until(lambda: client.got["reasoning"][-1].done)
    growing, last = client.got["reasoning"][:-1], client.got["reasoning"][-1]
    assert all(not part.done and part.status == "" and part.header.stamp.sec == 12 for part in growing)
    assert growing[0].thought.startswith("the bright one")
    assert len(growing[0].text) < len(growing[-1].text)
    assert np.diff([part.elapsed_s for part in growing]).min() > 0.05
    assert last.status == "cancelled"
    assert last.error


def test_the_overlay_is_drawn_only_when_someone_looks(node, client):
    client.ask("the bright one")
    client.call(Trigger, "clear", Trigger.Request())  # by its reply all that belongs to the answer has been sent
    client.listen("overlay", Image, "reasonseg/overlay")
    client.until(lambda: client.count_subscribers("reasonseg/overlay") and client.count_publishers("reasonseg/overlay"))
    client.spin(0.3)
    assert not client.got["overlay"]
    client.ask("the bright one")
    overlay = client.until(lambda: client.got["overlay"])[0]
    assert overlay.encoding == "rgb8"
    assert overlay.header.stamp.nanosec == 34
    assert (np.frombuffer(overlay.data, np.uint8).reshape(48, 64, 3) != bright_frame().rgb).any()


def test_the_overlay_is_there_as_jpeg_for_who_asks_for_that(node, client):
    client.listen("jpeg", CompressedImage, "reasonseg/overlay/compressed")
    client.until(lambda: client.count_publishers("reasonseg/overlay/compressed"))
    client.until(lambda: client.count_subscribers("reasonseg/overlay/compressed"))
    client.spin(0.3)
    received = int(value(client.diagnostic("camera", lambda status: True), "received"))
    client.images.publish(image_of(large_frame()))
    client.diagnostic("camera", lambda status: int(value(status, "received")) > received)
    client.ask("the bright one")
    jpeg = client.until(lambda: client.got["jpeg"])[-1]
    assert jpeg.format == "rgb8; jpeg compressed bgr8"
    picture = rgb_from_compressed(jpeg)
    assert picture.shape[0] > 480 and picture.shape[1] == 640
    np.testing.assert_allclose(picture[:200, :200].astype(int), 0, atol=12)  # the camera's, without words over it


def large_frame():
    rgb = np.zeros((480, 640, 3), np.uint8)
    rgb[300:380, 400:560] = 200
    return Frame(rgb, 13 * 10**9, "camera")


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
    assert result.result.segmentation.total_s < 2.0


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
    request = srv.Prompt.Request(points=[msg.Point2D(x=4.5, y=4.5), msg.Point2D(x=999.0, y=-3.0)])
    answer = client.call(srv.Prompt, "prompt", request).segmentation
    assert [(region.box_iou, region.points_inside) for region in answer.regions] == [(1.0, 1.0), (1.0, 1.0)]
    assert [(region.box.x1, region.box.y1) for region in answer.regions] == [(4, 4), (63, 0)]


@pytest.mark.parametrize(
    ("boxes", "points", "reason"),
    [
        ([], [], "neither box nor point"),
        ([], [msg.Point2D(x=float("nan"))], "finite"),
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


def test_watch_asks_again_until_cleared(start_node, client):
    start_node(query__watch_period_s=0.2)
    client.connect()
    client.images.publish(image_of(bright_frame()))
    client.queries.publish(msg.Query(text="the bright one", query_id="w", mode="watch"))
    client.until(lambda: len(client.got["segmentation"]) >= 3)
    assert {answer.query_id for answer in client.got["segmentation"]} == {"w"}
    assert client.ask("the unicorn", "once").query_id in ("once", "w")
    client.call(Trigger, "clear", Trigger.Request())
    client.until(lambda: client.got["segmentation"][-1].status == "cancelled")
    count = len(client.got["segmentation"])
    client.spin(0.5)
    assert len(client.got["segmentation"]) == count


def test_disabled_refuses_and_enabled_answers(node, client):
    assert client.call(SetBool, "enable", SetBool.Request(data=False)).success
    answer = client.ask("the bright one")
    assert answer.status == "refused"
    assert "disabled" in answer.error
    client.call(SetBool, "enable", SetBool.Request(data=True))
    assert client.ask("the bright one").status == "ok"


def test_policies_decide_what_a_new_question_does(node, client):
    client.queries.publish(msg.Query(text="slow one", query_id="first"))
    client.until(lambda: client.got["reasoning"])
    assert client.set(query__policy="refuse") == [""]
    refused = client.ask("the bright one", "second")
    assert (refused.query_id, refused.status) == ("second", "refused")
    client.set(query__policy="queue", query__queue_size=1)
    client.queries.publish(msg.Query(text="slow one", query_id="third"))
    client.diagnostic("questions", lambda status: value(status, "waiting") == "1")
    full = client.ask("the bright one", "fourth")
    assert (full.query_id, full.status) == ("fourth", "refused")
    assert "1 questions wait" in full.error
    client.set(query__policy="replace")
    client.queries.publish(msg.Query(text="the bright one", query_id="fifth"))
    client.until(lambda: "fifth" in [answer.query_id for answer in client.got["segmentation"]])
    ended = {answer.query_id: answer.status for answer in client.got["segmentation"]}
    assert ended["first"] == ended["third"] == "cancelled"
    assert ended["fifth"] == "ok"


def test_deactivate_cleanup_and_configure_again(node, client):
    handle, feedback = client.feedback_of_goal(Segment.Goal(text="slow: the bright one"))
    client.until(lambda: any(part.tokens for part in feedback))
    assert client.transition("deactivate")
    result = client.result_of(handle)
    assert result.status == ABORTED
    assert result.result.segmentation.status == "cancelled"
    request = srv.SegmentImage.Request(text="the bright one", image=image_of(bright_frame()))
    for label, leaves_models_out in (("cleanup", False), ("configure", True)):
        answer = client.call(srv.SegmentImage, "segment_image", request).segmentation
        assert answer.status == "refused"
        assert "not active" in answer.error
        assert client.transition(label)
        assert bool(gc.get_freeze_count()) == leaves_models_out
    assert client.transition("activate")
    client.connect()
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: value(status, "received") == "2")
    assert client.ask("the bright one").status == "ok"


def test_a_missing_model_leaves_the_node_unconfigured_until_it_is_put_right(start_node, client):
    start_node(reasoner__model="missing")
    status = client.diagnostic("node", lambda status: status.level == DiagnosticStatus.ERROR)
    assert "'missing'" in status.message
    assert "set reasoner.model" in status.message
    assert value(status, "state") == "unconfigured"
    assert not client.transition("configure")
    assert client.set(reasoner__model="there") == [""]
    assert client.transition("configure")
    assert client.transition("activate")
    client.diagnostic("node", lambda status: status.level == DiagnosticStatus.OK)
    assert "fixed while the node is configured" in client.set(reasoner__model="missing")[0]
    assert client.call(SetBool, "enable", SetBool.Request(data=True)).success


def test_a_transition_that_is_not_possible_now_is_refused_and_the_node_lives(node, client):
    assert not client.transition("activate")
    assert not client.transition("no such transition")
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    assert not client.call(ChangeState, "change_state", request).success
    assert client.ask("the bright one").status == "ok"


def test_diagnostics_go_on_while_the_models_are_loaded(start_node, client):
    start_node(reasoner__model="slow 0.5")
    status = client.diagnostic("node", lambda status: value(status, "state") == "configuring")
    assert status.level == DiagnosticStatus.WARN
    client.diagnostic("node", lambda status: status.message == "configuring: building an engine: 50%")
    client.diagnostic("node", lambda status: status.message == value(status, "state") == "active")


def test_questions_that_run_or_wait_when_the_node_is_deactivated_are_seen_to_end(node, client):
    client.queries.publish(msg.Query(text="slow one", query_id="first"))
    client.until(lambda: client.got["reasoning"])
    client.queries.publish(msg.Query(text="the bright one", query_id="second"))
    client.diagnostic("questions", lambda status: value(status, "waiting") == "1")
    assert client.transition("deactivate")
    ended = {("first", "cancelled"), ("second", "cancelled")}
    client.until(lambda: ended <= {(answer.query_id, answer.status) for answer in client.got["segmentation"]})


def test_the_camera_may_change_its_size_and_encoding(node, client):
    frame = bright_frame(stamp_ns=2)
    large = Frame(np.repeat(np.repeat(frame.rgb, 2, 0), 2, 1), stamp_ns=3)
    mono = pixels_message(header_message(bright_frame(stamp_ns=4)), np.ascontiguousarray(frame.rgb[:, :, 0]))
    for number, (image, size_wh) in enumerate([(image_of(large), (128, 96)), (mono, (64, 48))]):
        client.images.publish(image)
        client.diagnostic("camera", lambda status, number=number: value(status, "received") == str(number + 2))
        answer = client.ask("the bright one")
        assert (answer.status, answer.width, answer.height) == ("ok", *size_wh)
        assert answer.header == image.header
        assert masks_from(answer)[0].shape == size_wh[::-1]


def test_fifty_questions_at_once_all_end_and_the_node_lives(node, client):
    queries = client.create_publisher(msg.Query, "reasonseg/query", 50)
    client.until(queries.get_subscription_count)
    for _ in range(50):
        queries.publish(msg.Query(text="brief: the bright one"))

    def all_ended(status):
        ended = [int(value(status, f"ended: {name}") or 0) for name in ("ok", "refused")]
        return sum(ended) == 50 and min(ended) >= 8

    client.diagnostic("questions", all_ended)
    assert client.ask("the bright one", "last").query_id == "last"


def test_disabling_while_the_model_thinks_lets_it_finish(node, client):
    client.queries.publish(msg.Query(text="brief: the bright one", query_id="running"))
    client.until(lambda: client.got["reasoning"])
    assert client.call(SetBool, "enable", SetBool.Request(data=False)).success
    assert client.ask("the bright one", "late").query_id in ("late", "running")
    client.until(lambda: len(client.got["segmentation"]) == 2)
    assert {a.query_id: a.status for a in client.got["segmentation"]} == {"running": "ok", "late": "refused"}


def test_two_nodes_of_different_names_keep_to_themselves(start_node, client):
    start_node(["--ros-args", "-r", "__node:=left", "-r", "image:=/left/image"])
    start_node(["--ros-args", "-r", "__ns:=/arm", "-r", "__node:=right", "-r", "image:=/left/image"])
    image = client.create_publisher(Image, "left/image", 5)
    texts = {name: client.create_publisher(String, f"{name}/query_text", 5) for name in ("left", "arm/right")}
    for name in texts:
        client.listen(name, msg.Segmentation, f"{name}/segmentation")
    client.until(lambda: image.get_subscription_count() == 2)
    client.until(lambda: all(text.get_subscription_count() == 1 for text in texts.values()))
    client.until(lambda: all(client.count_publishers(f"{name}/segmentation") for name in texts))
    for name in ("/left", "/arm/right"):
        client.diagnostic("node", lambda s, name=name: s.hardware_id == name and value(s, "state") == "active")
    image.publish(image_of(bright_frame()))
    texts["left"].publish(String(data="the bright one"))
    client.until(lambda: client.got["left"])
    texts["arm/right"].publish(String(data="the unicorn"))
    client.until(lambda: client.got["arm/right"])
    assert [answer.status for answer in client.got["left"]] == ["ok"]
    assert client.got["arm/right"][0].status in ("no_target", "no_frame")


def test_without_autostart_the_node_waits_for_its_manager(start_node, client):
    start_node(autostart=False)
    client.diagnostic("node", lambda status: value(status, "state") == "unconfigured")
    assert not client.call(SetBool, "enable", SetBool.Request(data=True)).success
    assert client.call(Trigger, "clear", Trigger.Request()).message == "0 questions cleared"
    assert client.transition("configure")
    assert client.transition("shutdown")


def test_compressed_transport_and_truncated_jpeg(start_node, client):
    remap = ["--ros-args", "-r", "image:=camera/compressed"]
    start_node(remap, camera__transport="compressed", query__frame_wait_s=2.0)
    images = client.create_publisher(CompressedImage, "camera/compressed", 5)
    client.until(images.get_subscription_count)
    data = cv2.imencode(".jpg", bright_frame().rgb[:, :, ::-1])[1].tobytes()
    images.publish(CompressedImage(format="jpeg", data=data[:-40]))
    client.diagnostic("camera", lambda status: value(status, "dropped: truncated image") == "1")
    images.publish(CompressedImage(format="jpeg", data=data + bytes(500)))
    assert client.ask("the bright one").status == "ok"


def test_a_huge_compressed_image_is_dropped_before_it_is_decoded(start_node, client):
    remap = ["--ros-args", "-r", "image:=camera/compressed"]
    start_node(remap, camera__transport="compressed", query__frame_wait_s=2.0)
    images = client.create_publisher(CompressedImage, "camera/compressed", 5)
    client.until(images.get_subscription_count)
    data = cv2.imencode(".png", bright_frame().rgb[:, :, ::-1])[1].tobytes()
    huge = data[:16] + (30_000).to_bytes(4, "big") * 2 + data[24:]
    images.publish(CompressedImage(format="png", data=huge))
    reported = client.diagnostic("camera", lambda status: value(status, "dropped: too large") == "1")
    assert "30000 x 30000 pixels; at most 100 megapixels" in reported.message
    images.publish(CompressedImage(format="16UC1; png compressed ", data=data))
    client.diagnostic("camera", lambda status: value(status, "dropped: depth encoding") == "1")
    assert client.set(camera__max_megapixels=0.01) == [""]
    images.publish(stamped(CompressedImage(format="png", data=data), 5))
    assert client.ask("the bright one").status == "ok"


def test_an_image_of_twelve_bits_in_sixteen_is_told_to_be_nearly_black(node, client):
    grey = np.zeros((48, 64), np.uint16)
    grey[10:20, 30:50] = 4095
    picture = Image(encoding="mono16", height=48, width=64, step=128, data=grey.tobytes())
    client.images.publish(stamped(picture, 13))
    client.diagnostic("camera", lambda status: value(status, "received") == "2")
    client.ask("the bright one")
    reported = client.diagnostic("camera", lambda status: value(status, "nearly black 16-bit images") == "1")
    assert "shift the values up, or publish mono8" in reported.message or reported.level == DiagnosticStatus.OK


def stamped(message, sec):
    message.header.stamp.sec = sec
    return message


@pytest.mark.parametrize("reliability", ["best_effort", "reliable"])
def test_quality_of_service_follows_the_parameters(start_node, client, reliability):
    start_node(camera__reliability=reliability, output__reliability=reliability)
    client.until(lambda: client.get_subscriptions_info_by_topic("/image"))
    (camera,) = client.get_subscriptions_info_by_topic("/image")
    (output,) = client.until(lambda: client.get_publishers_info_by_topic("/reasonseg/segmentation"))
    assert camera.qos_profile.reliability.name == output.qos_profile.reliability.name == reliability.upper()

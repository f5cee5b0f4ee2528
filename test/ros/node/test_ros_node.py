"""The node over real topics, services and the action, with scripted models."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from reasonseg_ros.action import Segment
from ros_client import image_of, value
from sample_images import large_frame
from scripted_node import bright_frame
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from reasonseg_ros import msg, srv
from reasonseg_ros.config import METHODS
from reasonseg_ros.images.messages import rgb_from_compressed
from reasonseg_ros.ros.client.answer_pictures import AnswerPictures
from reasonseg_ros.ros.conversion import masks_from

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


def test_each_of_several_answers_about_one_image_finds_its_own_picture(node, client):
    """They have the same stamp, so a picture that is found by its stamp may show another answer."""
    client.listen("jpeg", CompressedImage, "reasonseg/overlay/compressed")
    client.until(lambda: client.count_publishers("reasonseg/overlay/compressed"))
    client.until(lambda: client.count_subscribers("reasonseg/overlay/compressed"))
    client.spin(0.3)
    found = {name: client.ask(text, name) for name, text in (("none", "the unicorn"), ("one", "the bright one"))}
    client.until(lambda: len(client.got["jpeg"]) == 2)
    assert found["none"].header == found["one"].header
    pictures = {}
    for order in (client.got["jpeg"], client.got["jpeg"][::-1]):
        kept = AnswerPictures()
        for message in order:
            kept.keep(message)
        pictures |= {name: rgb_from_compressed(kept.of(answer)) for name, answer in found.items()}
        answer = msg.Segmentation(header=found["one"].header, query_id="another")
        assert kept.of(answer) is None
    # Nothing is drawn for "none", so that its colours are those of the camera but for the JPEG.
    plain = bright_frame().rgb.astype(int)
    changed = {name: np.abs(rgb[:48, :64].astype(int) - plain).max() for name, rgb in pictures.items()}
    assert changed["none"] < 60 < changed["one"]


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


def test_deactivate_cleanup_and_configure_again(process_collector, node, client):
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
        assert bool(process_collector.get_freeze_count()) == leaves_models_out
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

"""Black boxes of the real node, asked and flagged from another process."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from ros_client import SCRIPT, image_of, value
from rosbags.highlevel import AnyReader
from scripted_node import bright_frame
from std_msgs.msg import String

from reasonseg_ros import srv
from reasonseg_ros.bags import typestore
from reasonseg_ros.recording.reading import read_black_boxes
from reasonseg_ros.ros.conversion import masks_from
from reasonseg_ros.types import Frame


@pytest.fixture
def start_recording(start_process, client, tmp_path):
    """Start the node as a process with these `record.*` parameters, connect, and show it one image."""

    def start(frame=None, **record):
        values = {"answers": "failed", "folder": tmp_path / "boxes", "around_s": 0.1, **record}
        parameters = [f"record.{name}:={value}" for name, value in values.items()]
        parameters += ["diagnostics_period_s:=0.1", "query.frame_wait_s:=20.0", "query.image_max_age_s:=0.0"]
        process = start_process(SCRIPT, "--ros-args", *(word for one in parameters for word in ("-p", one)))
        client.connect()
        client.images.publish(image_of(frame or bright_frame(stamp_ns=1_700_000_000_000_000_005)))
        client.diagnostic("camera", lambda status: value(status, "received") == "1")
        return process

    return start


def recorded(client, count):
    return client.diagnostic("recordings", lambda status: value(status, "recorded") == str(count))


def test_a_failed_answer_is_recorded_as_it_was_published(start_recording, client, tmp_path):
    start_recording()
    assert client.ask("the bright one").status == "ok"
    answer = client.ask("boom", query_id="bad/one")
    assert answer.status == "failed"
    assert recorded(client, 1).level == DiagnosticStatus.OK
    (path,) = (tmp_path / "boxes").iterdir()
    assert path.name.endswith("_failed_bad-one.mcap")
    (box,) = read_black_boxes(path)
    assert (box.query.text, box.query.query_id, box.status, box.error) == ("boom", "bad/one", "failed", answer.error)
    assert box.node == "/reasonseg" and box.settings["record.answers"] == "failed"
    assert box.conditions["versions"]["numpy"] == np.__version__
    assert box.conditions["reasoner"]["files_sha256"]["model.safetensors"]
    np.testing.assert_array_equal(box.frames[0].rgb, bright_frame().rgb)
    with AnyReader([path], default_typestore=typestore()) as reader:
        published = {one.topic: reader.deserialize(data, one.msgtype) for one, _, data in reader.messages()}
    assert published["/reasonseg/segmentation"].error == answer.error
    assert published["/reasonseg/reasoning"].query_id == "bad/one"


def test_a_good_answer_is_flagged_and_the_answer_of_the_service_names_its_file(start_recording, client):
    start_recording(answers="flagged")
    answer = client.ask("the bright one", query_id="q")
    found = client.call(srv.Flag, "flag", srv.Flag.Request(query_id="q", note="it meant the other one"))
    assert found.success, found.message
    (box,) = read_black_boxes(Path(found.message))
    assert (box.is_flagged, box.note, box.status) == (True, "it meant the other one", "ok")
    np.testing.assert_array_equal(box.segmentation.regions[0].mask, masks_from(answer)[0])
    unknown = client.call(srv.Flag, "flag", srv.Flag.Request(query_id="other"))
    assert not unknown.success and "no answer to 'other' is in memory; there are answers to q" in unknown.message


def test_without_recording_flag_says_what_to_set(start_recording, client, tmp_path):
    start_recording(answers="never")
    client.ask("the bright one")
    found = client.call(srv.Flag, "flag", srv.Flag.Request())
    assert not found.success and "set record.answers" in found.message
    assert not (tmp_path / "boxes").exists()


def test_a_full_folder_and_an_unusable_one_are_warnings_and_answers_go_on(start_recording, client, tmp_path):
    (tmp_path / "file").write_text("no folder")
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)  # 1.5 MB as PNG
    start_recording(Frame(noise, 5), answers="all", max_mb=1)
    client.ask("the bright one")
    status = client.diagnostic("recordings", lambda status: value(status, "lost") == "1")
    assert "more than record.max_mb = 1 allows" in status.message and status.level == DiagnosticStatus.WARN
    assert not list((tmp_path / "boxes").glob("*"))
    assert client.transition("deactivate") and client.transition("cleanup")
    assert client.set(record__folder=str(tmp_path / "file" / "boxes")) == [""]
    assert client.transition("configure") and client.transition("activate")
    client.images.publish(image_of(bright_frame(stamp_ns=9)))
    client.diagnostic("camera", lambda status: value(status, "received") == "2")
    assert client.ask("the bright one").status == "ok"
    status = client.diagnostic("recordings", lambda status: value(status, "lost") == "2")
    assert "a part of the path is a file" in status.message


def test_a_node_that_is_killed_while_it_records_leaves_whole_files_only(
    start_recording, start_process, client, tmp_path
):
    """Every file that is there can be read, at whatever moment the process is killed."""
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    process = start_recording(Frame(noise, 5), answers="all", around_s=0.0)
    for number in range(20):
        client.texts.publish(String(data=f"the bright one, {number}"))
    client.until(lambda: any((tmp_path / "boxes").glob("*.mcap")) if (tmp_path / "boxes").exists() else False)
    time.sleep(0.02)  # somewhere in the middle of the next ones
    process.send_signal(signal.SIGKILL)
    process.wait()
    files = list((tmp_path / "boxes").glob("*.mcap"))
    assert files
    for path in files:
        assert len(list(read_black_boxes(path))) == 1
    # What was half written is removed by the next node.
    (tmp_path / "boxes" / ".blackbox_x.mcap.abc.part").write_bytes(b"half")
    parameters = ("-p", "record.answers:=all", "-p", f"record.folder:={tmp_path / 'boxes'}")
    start_process(SCRIPT, "--ros-args", *parameters)
    client.until(lambda: not list((tmp_path / "boxes").glob(".*.part")))

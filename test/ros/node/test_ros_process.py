"""The node as a separate process, started as on a robot."""

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from reasonseg_ros.action import Segment
from reasonseg_ros.msg import Query
from reasonseg_ros.srv import SegmentImage
from ros_client import SCRIPT, image_of, value
from scripted_node import ODD, bright_frame, load
from std_msgs.msg import String

from reasonseg_ros.plain_text import one_line
from reasonseg_ros.ros.conversion import masks_from
from reasonseg_ros.ros.node import main


def stop(process, signal_number=signal.SIGINT):
    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=90)
    return process.returncode, errors


def test_a_question_from_another_process_gets_masks_with_the_images_header(start_process, client, tmp_path):
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(
        "reasonseg:\n  ros__parameters:\n    diagnostics_period_s: 0.1\n    query: {frame_wait_s: 5.0}\n"
    )
    process = start_process(SCRIPT, "--ros-args", "--params-file", parameters)
    client.connect()
    client.images.publish(image_of(bright_frame(stamp_ns=1_700_000_000_123_456_789)))
    answer = client.ask("Where is the bright one?")
    assert (answer.header.stamp.sec, answer.header.stamp.nanosec) == (1_700_000_000, 123_456_789)
    np.testing.assert_array_equal(masks_from(answer)[0], bright_frame().rgb[:, :, 0] > 0)
    # Ctrl-C while the model thinks: a clean and quick end, nothing on stderr but log lines. It comes twice, as in a
    # terminal where `ros2 launch` passes it on.
    client.queries.publish(Query(text="slow: the bright one"))
    client.until(lambda: client.got["reasoning"] and not client.got["reasoning"][-1].done)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    code, errors = stop(process)
    assert code == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_models_are_loaded_ends_the_node(start_process, client, number):
    # Long enough for a busy machine to find the node meanwhile.
    process = start_process(SCRIPT, "--ros-args", "-p", "reasoner.model:=slow 30", "-p", "diagnostics_period_s:=0.1")
    client.diagnostic("node", lambda status: value(status, "state") == "configuring")
    code, errors = stop(process, number)
    assert code == 0, errors
    assert "Traceback" not in errors


def shared_memory_of(process):
    """Files of shared memory that a process has open."""
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    return {Path(line.split()[-1]) for line in maps.splitlines() if "/dev/shm/fastrtps_" in line}


def test_a_missing_checkpoint_leaves_the_real_node_unconfigured_with_path_and_remedy(start_process, client):
    others = set(Path("/dev/shm").glob("fastrtps_*"))
    process = start_process("-m", "reasonseg_ros.ros.node", "--ros-args", "-p", "reasoner.model:=/no/such/folder")
    # Importing the model libraries may take long on a busy machine.
    status = client.diagnostic("node", lambda status: "/no/such/folder" in status.message, timeout_s=120)
    assert status.level == DiagnosticStatus.ERROR
    assert value(status, "state") == "unconfigured"
    assert not client.transition("configure")
    own = shared_memory_of(process) - others
    assert own
    code, errors = stop(process, signal.SIGTERM)
    assert not [path for path in own if path.exists() and "port" not in path.name]  # ports are shared with the client
    assert code == 0, errors
    assert "cannot configure" in errors
    assert "/no/such/folder" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("setting", ["query.frame_wait_s:=5", "query.queue_size:=0", "query.policy:=shout"])
def test_a_wrong_parameter_at_start_is_one_clear_line(monkeypatch, capfd, domain_id, setting):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    assert main(["--ros-args", "-p", setting], load) == 2
    errors = capfd.readouterr().err.strip()
    assert setting.split(":=")[0] in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(("question", "status"), [("odd text", "ok"), ("odd text, raised", "failed")])
def test_text_that_is_no_text_ends_in_a_published_answer_by_every_way_to_ask(start_process, client, question, status):
    process = start_process(SCRIPT, "--ros-args", "-p", "query.frame_wait_s:=20.0", "-p", "diagnostics_period_s:=0.1")
    client.connect()
    image = image_of(bright_frame())
    client.images.publish(image)
    answers = [client.ask(question), client.call(SegmentImage, "segment_image", asked(question, image)).segmentation]
    handle, feedback = client.feedback_of_goal(Segment.Goal(text=question, image=image))
    answers.append(client.result_of(handle).result.segmentation)
    client.until(lambda: sum(one.done for one in client.got["reasoning"]) == len(answers))
    texts = [text for one in client.got["reasoning"] for text in (one.thought, one.text, one.error, one.model)]
    texts += [one.thought for one in feedback]
    for answer in answers:
        assert answer.status == status, answer.error
        texts += [answer.thought, answer.error, *(region.label for region in answer.regions)]
        assert [region.label for region in answer.regions] == ([one_line(ODD)] if status == "ok" else [])
        assert "\n" not in answer.error
    shown = "a\ufffd\ufffdb\ufffd[2J\ufffd" if status == "ok" else one_line(ODD)
    assert any(shown in text for text in texts), texts
    assert not [text for text in texts if set(text) & set("\x00\x1b\u202e")]
    assert client.ask("the bright one").status == "ok"
    code, errors = stop(process)
    assert code == 0 and ("Traceback" in errors) == (status == "failed"), errors
    assert not set(errors) & set("\x00\x1b\u202e")


def asked(question, image):
    request = SegmentImage.Request()
    request.text, request.image = question, image
    return request


def test_a_question_that_is_no_text_is_refused_by_every_way_to_ask(start_process, client):
    process = start_process(SCRIPT, "--ros-args", "-p", "diagnostics_period_s:=0.1")
    client.connect()
    client.queries.publish(Query(text="the \x1b[2J mug"))
    client.until(lambda: client.got["segmentation"])
    client.queries.publish(Query(text="the mug", query_id="a\x07b"))
    client.until(lambda: client.got["segmentation"][1:])
    client.texts.publish(String(data="the \x9b mug"))
    client.until(lambda: client.got["segmentation"][2:])
    answers = client.got["segmentation"][:3]
    image = image_of(bright_frame())
    answers.append(client.call(SegmentImage, "segment_image", asked("the \ufffd mug", image)).segmentation)
    handle, _ = client.feedback_of_goal(Segment.Goal(text="the \x7f mug", image=image))
    answers.append(client.result_of(handle).result.segmentation)
    for answer, code in zip(answers, ("U+001B", "U+0007", "U+009B", "U+FFFD", "U+007F"), strict=True):
        assert answer.status == "refused" and code in answer.error, answer.error
        assert not set(answer.question + answer.query_id) & set("\x1b\x07\x9b\x7f")
    code, errors = stop(process)
    assert code == 0 and "Traceback" not in errors, errors


@pytest.mark.parametrize(
    ("name", "likely"),
    [
        ("reasoner.modell", "reasoner.model"),
        ("querry.policy", "query.policy"),
        ("model", "reasoner.model or segmenter.model"),
        ("image_transport", "camera.transport"),
        ("Camera.Depth", "camera.depth"),
        ("qos_overrides./image.subscription.depth", ""),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused_with_the_likely_one(
    monkeypatch, capfd, domain_id, tmp_path, name, likely
):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    path = tmp_path / "parameters.yaml"
    path.write_text(f"/**:\n  ros__parameters:\n    {name}: 3\n")
    for arguments in (["-p", f"{name}:=3"], ["--params-file", str(path)]):
        assert main(["--ros-args", *arguments], load) == 2
        errors = capfd.readouterr().err.strip()
        assert f"no parameter '{name}'" in errors
        assert f"did you mean {likely}" in errors
        assert len(errors.splitlines()) == 1


def test_the_parameters_of_every_node_are_no_unknown_ones(start_process, client):
    start_process(SCRIPT, "--ros-args", "-p", "use_sim_time:=true", "-p", "diagnostics_period_s:=0.1")
    client.diagnostic("node", lambda status: value(status, "state") == "active")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("a: [1, 2", "no YAML"),
        ("find it", "ros__parameters"),
        ("", "ros__parameters"),
        ("reasoner.model: x", "ros__parameters"),
        ("/**:\n  ros_parameters:\n    method: seg_zero\n", "ros__parameters"),
        (b"\xff\xfe", "no YAML"),
    ],
)
def test_a_parameter_file_that_is_missing_or_none_ends_the_start(
    monkeypatch, capfd, domain_id, tmp_path, content, reason
):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    path = tmp_path / "parameters.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["--ros-args", "--params-file", str(path)], load) == 2
    errors = capfd.readouterr().err.strip()
    assert str(path) in errors
    assert reason in errors
    assert len(errors.splitlines()) == 1


def test_arguments_that_ros_cannot_read_are_one_line(monkeypatch, capfd, domain_id):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    assert main(["--ros-args", "-p", "method"], load) == 2
    errors = capfd.readouterr().err.strip()
    assert "-p method" in errors
    assert [line for line in errors.splitlines() if line.startswith("reasonseg: ")] == errors.splitlines()[-1:]


def test_a_parameter_file_without_a_section_for_the_node_is_a_warning(start_process, client, tmp_path):
    path = tmp_path / "parameters.yaml"
    path.write_text("reason_seg:\n  ros__parameters:\n    method: seg_zero\n")
    process = start_process(SCRIPT, "--ros-args", "--params-file", path)
    client.diagnostic("node", lambda status: value(status, "state") == "active")
    code, errors = stop(process)
    assert code == 0
    assert "no parameter file has a section for /reasonseg" in errors


def test_errors_at_the_start_read_as_they_are_pinned(monkeypatch, capfd, domain_id, tmp_path, snapshot):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    monkeypatch.chdir(tmp_path)
    Path("text.yaml").write_text("find it")
    Path("unknown.yaml").write_text("/**:\n  ros__parameters:\n    reasoner: {modell: x}\n")
    transcript = []
    for arguments in (
        "-p query.frame_wait_s:=5",
        "-p query.queue_size:=0",
        "-p query.policy:=shout",
        "-p output.overlay_alpha:=.nan",
        "-p reasoner.modell:=x",
        "-p camera.transport:=jpeg",
        "--params-file absent.yaml",
        "--params-file text.yaml",
        "--params-file unknown.yaml",
    ):
        assert main(["--ros-args", *arguments.split()], load) == 2
        errors = capfd.readouterr().err
        assert errors.count("\n") == 1, errors
        transcript.append(f"$ node --ros-args {arguments}\n{errors}")
    snapshot("errors_of_the_nodes_start", "\n".join(transcript))

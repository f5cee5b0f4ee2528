"""`reasonseg ask --node` in a process, against the node in another."""

import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from ros_client import SCRIPT, image_of, value
from scripted_node import bright_frame


@pytest.fixture
def ask(start_process):
    """Start `reasonseg ask --node`; what it printed, its errors and exit status are read by `ended`."""
    return lambda *arguments: start_process("-m", "reasonseg_ros.cli", "ask", "--node", *arguments)


@pytest.fixture
def short_lease(monkeypatch):
    """Processes that start are missed 2 s after they were killed; by default it takes 20 s."""
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(Path(__file__).parents[1] / "short_lease.xml"))


@pytest.fixture
def running_node(start_process, client):
    process = start_process(SCRIPT, "--ros-args", "-p", "diagnostics_period_s:=0.1", "-p", "query.frame_wait_s:=0.5")
    client.connect()
    message = image_of(bright_frame(stamp_ns=12_000_000_034))

    def is_shown(status):  # an image may be lost while the two ends still find each other
        client.images.publish(message)
        return int(value(status, "received")) > 0

    client.diagnostic("camera", is_shown)
    return process


def ended(process):
    out, errors = process.communicate(timeout=120)
    return process.returncode, out, errors


def test_the_thought_is_streamed_and_the_answer_is_a_few_lines(ask, running_node, tmp_path):
    overlay = tmp_path / "new" / "overlay.png"
    code, out, errors = ended(ask("brief: the bright one", "--out", str(overlay)))
    assert code == 0, errors
    lines = out.splitlines()
    assert lines[0].startswith("the bright one")
    assert lines[-5] == "status     ok"
    assert lines[-4].startswith("region 1   box 30,10 to 50,20 px, mask score ")
    assert lines[-3].startswith("no 3D      no depth image")
    assert lines[-2].startswith("time ")
    assert lines[-1] == f"overlay    {overlay}"
    picture = cv2.imread(str(overlay))
    assert picture.shape[1] >= 64
    assert np.unique(picture.reshape(-1, 3), axis=0).shape[0] > 2  # more than the camera's two colours


@pytest.mark.parametrize(
    ("question", "code", "status"),
    [("a unicorn", 0, "status     no_target"), ("boom", 1, "status     failed: "), (" ", 1, "status     refused: ")],
)
def test_the_exit_status_tells_an_answer_from_a_failure(ask, running_node, question, code, status):
    ended_code, out, errors = ended(ask(question))
    assert ended_code == code, errors
    assert [line for line in out.splitlines() if line.startswith(status)]


def test_an_absent_node_is_one_line_that_names_those_that_run(ask, running_node):
    code, out, errors = ended(ask("the bright one", "--name", "/left/reasonseg", "--wait", "10"))
    assert (code, out) == (2, "")
    assert "no node /left/reasonseg answered within 10 s; running: /reasonseg (choose one with --name)" in errors
    assert "Traceback" not in errors


def test_two_nodes_of_one_name_are_refused_and_say_so(ask, running_node, start_process, client):
    start_process(SCRIPT, "--ros-args", "-p", "diagnostics_period_s:=0.1")
    status = client.diagnostic("node", lambda status: "2 nodes have this name" in status.message)
    assert status.level == DiagnosticStatus.WARN
    for _ in range(10):  # on a busy machine the other one may be found too late, and the second one has no image
        code, out, errors = ended(ask("the bright one"))
        if code == 2:
            break
    assert (code, out) == (2, "")
    assert "2 nodes have the name /reasonseg, and each would answer; stop one" in errors


def test_ctrl_c_cancels_the_question(ask, running_node, client):
    process = ask("slow: the bright one")
    client.until(lambda: client.got["reasoning"])
    process.send_signal(signal.SIGINT)
    code, _, errors = ended(process)
    assert code == 130
    assert "Traceback" not in errors
    client.until(lambda: client.got["segmentation"])
    assert client.got["segmentation"][-1].status == "cancelled"


def test_a_node_that_dies_meanwhile_ends_the_wait(short_lease, ask, running_node, client):
    process = ask("slow: the bright one")
    client.until(lambda: client.got["reasoning"])
    running_node.kill()
    start_s = time.monotonic()
    code, _, errors = ended(process)
    assert code == 2
    assert "ended before it answered" in errors
    assert time.monotonic() - start_s < 90

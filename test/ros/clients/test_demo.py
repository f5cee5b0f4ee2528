"""The demo with the real node, real topics and scripted models, in processes as `reasonseg demo` starts them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from reasonseg_ros import bags
from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.types import Query

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy")

from reasonseg_ros.config import METHODS
from reasonseg_ros.demo.moving import REFUSED
from reasonseg_ros.demo.run import chosen_method, picture_file, read_tasks
from reasonseg_ros.methods.loading import method_class

FOLDER = Path(__file__).parents[1]
SIZE_WH = (64, 48)
BOXES = [[(10, 8, 30, 28)], [], [(2, 2, 12, 12), (40, 20, 60, 40)]]
RUN = """
import sys
from pathlib import Path
from reasonseg_ros.cli import exit_on_termination
from reasonseg_ros.demo.run import run_demo
exit_on_termination()
sys.exit(run_demo(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), node_command=[sys.executable, sys.argv[4]]))
"""


def text_for(boxes):
    listed = [{"bbox_2d": box, "point_2d": [(box[0] + box[2]) // 2, (box[1] + box[3]) // 2]} for box in boxes]
    return f"<think>It is in {len(boxes)} places.</think><answer>{json.dumps(listed)}</answer>"


@pytest.fixture
def bag(tmp_path):
    """Three pictures, each with a question; nothing fits the second."""
    with bags.BagWriter(tmp_path / "bag") as bag:
        for number, boxes in enumerate(BOXES):
            mask = np.zeros(SIZE_WH[::-1], bool)
            for x1, y1, x2, y2 in boxes:
                mask[y1:y2, x1:x2] = True
            stamp_ns = (number + 1) * 10**9
            rgb = np.where(mask[..., None], np.uint8(200), np.uint8(60)) * np.ones(3, np.uint8)
            query = Query(f"question {number}", f"id-{number}")
            truth = bags.ground_truth_message(query, mask, stamp_ns, "optical", kind="several" if boxes else "none")
            bag.write("/camera/image", bags.image_message(rgb, stamp_ns, "optical"), stamp_ns)
            camera = bags.camera_info_message(Intrinsics(50.0, 50.0, 32.0, 24.0), SIZE_WH, stamp_ns, "optical")
            bag.write("/camera/camera_info", camera, stamp_ns)
            depth_m = np.where(mask, np.float32(0.5), np.float32(0.52))
            bag.write("/camera/depth", bags.depth_message(depth_m, stamp_ns, "optical"), stamp_ns)
            bag.write("/reasonseg/ground_truth", truth, stamp_ns)
    return tmp_path / "bag"


@pytest.fixture
def start(tmp_path, bag):
    """Starts the demo on the bag, with what the reasoner will say and the script of the node."""
    params = tmp_path / "params.yaml"
    params.write_text("/**:\n  ros__parameters:\n    output.mask_encoding: rle\n")
    demos = []

    def start_demo(texts, node="demo_node.py"):
        (tmp_path / "texts.json").write_text(texts if isinstance(texts, str) else json.dumps(texts))
        root = str(FOLDER.parents[1])
        environment = {**os.environ, "REASONSEG_TEST_TEXTS": str(tmp_path / "texts.json"), "PYTHONPATH": root}
        demos.append(
            subprocess.Popen(
                [sys.executable, "-c", RUN, bag, tmp_path / "out", params, FOLDER / node],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
                cwd=root,
                start_new_session=True,
            )
        )
        return demos[-1]

    yield start_demo
    for demo in demos:
        if demo.poll() is None:
            demo.terminate()
        demo.communicate(timeout=60)


def processes_about(folder):
    """Command lines of the running processes that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


def wait_for(condition, limit_s=120):
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "the demo did not come so far"
        time.sleep(0.05)


def test_every_question_is_answered_printed_and_kept(start, tmp_path):
    demo = start([text_for(boxes) for boxes in BOXES])
    printed, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, printed
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["giou"] == pytest.approx(1.0)
    answers = summary["answers"]
    assert [answer["question"] for answer in answers] == ["question 0", "question 1", "question 2"]
    assert [answer["status"] for answer in answers] == ["ok", "no_target", "ok"]
    assert [answer["stamp_ns"] for answer in answers] == [10**9, 2 * 10**9, 3 * 10**9]
    assert [[tuple(box) for box in answer["boxes"]] for answer in answers] == BOXES
    assert [len(answer["boxes_3d"]) for answer in answers] == [1, 0, 2]
    assert answers[0]["boxes_3d"][0]["middle_m"] == pytest.approx([-0.125, -0.065, 0.5], abs=0.01)
    assert answers[2]["thought"] == "It is in 2 places."
    for words in ("question 2", "It is in 2 places.", "no_target", "gIoU 1.000", "in optical"):
        assert words in printed
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [answer["overlay"] for answer in answers]
    with bags.BagReader(tmp_path / "out/result") as result:
        messages = list(result.messages())
    stamps = [bags.header_stamp_ns(m.header) for topic, _, m in messages if topic == "/camera/image"]
    assert stamps == [10**9, 2 * 10**9, 3 * 10**9]
    asked = [m.query_id for topic, _, m in messages if topic == "/reasonseg/query"]
    answered = [m.query_id for topic, _, m in messages if topic == "/reasonseg/segmentation"]
    assert asked == answered == ["id-0", "id-1", "id-2"]
    assert {m.query_id for topic, _, m in messages if topic == "/reasonseg/reasoning"} == set(asked)
    assert processes_about(tmp_path) == []


def test_wrong_masks_are_a_failure(start, tmp_path):
    demo = start([text_for(BOXES[2]), text_for(BOXES[0]), "I cannot tell."])
    printed, _ = demo.communicate(timeout=240)
    assert demo.returncode == 1, printed
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["passed"] is False
    assert [answer["status"] for answer in summary["answers"]] == ["ok", "ok", "unparsable"]
    assert [answer["iou"] for answer in summary["answers"]][1:] == [0.0, 0.0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_behind(start, tmp_path, number):
    demo = start([text_for(BOXES[0]) + " word" * 10_000])
    wait_for(lambda: (tmp_path / "out/logs/player.log").exists() and len(processes_about(tmp_path)) > 2)
    demo.send_signal(number)
    demo.communicate(timeout=90)
    assert demo.returncode != 0
    assert processes_about(tmp_path) == []


def test_a_node_that_dies_is_explained_by_its_log(start, tmp_path):
    (tmp_path / "dying_node.py").write_text("print('the model folder is gone')\nraise SystemExit(3)\n")
    demo = start([], node=tmp_path / "dying_node.py")
    printed, _ = demo.communicate(timeout=240)
    assert demo.returncode == 1
    assert "the node ended with code 3" in printed
    assert "the model folder is gone" in printed
    assert processes_about(tmp_path) == []


def test_a_node_that_cannot_be_configured_is_explained_by_its_log(start, tmp_path):
    demo = start("damaged")
    printed, _ = demo.communicate(timeout=240)
    assert demo.returncode == 1
    assert "the node is unconfigured, not active" in printed
    assert "cannot configure: JSONDecodeError" in printed
    assert processes_about(tmp_path) == []


def test_the_methods_that_see_one_image_are_those_that_refuse():
    refuse_history = {name for name, modes in REFUSED.items() if "history" in modes}
    assert refuse_history == {name for name in METHODS if not method_class(name).sees_videos}


def test_the_method_is_that_of_the_option_or_else_of_the_file(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("/**:\n  ros__parameters:\n    method: llm_seg\n")
    assert chosen_method(params, {}) == "llm_seg"
    assert chosen_method(params, {"method": "rev_seg"}) == "rev_seg"


def test_questions_of_a_bag_get_ids_that_tell_their_answers_apart(tmp_path):
    with bags.BagWriter(tmp_path / "bag") as bag:
        for query_id in ("a", "", "a", "", "a#2"):
            truth = bags.ground_truth_message(Query("Where?", query_id), np.ones((4, 4), bool), 10**9, "optical")
            bag.write("/reasonseg/ground_truth", truth, 10**9)
    ids = [task.query_id for task in read_tasks(tmp_path / "bag")]
    assert ids[:4] == ["a", "question", "a#2", "question#2"] and len(set(ids)) == 5


@pytest.mark.parametrize("kind", ["", "relation", "../../elsewhere", "a/b", "x" * 500, "nul\0", "种类"])
def test_a_picture_stays_in_the_folder_whatever_its_kind_is_called(kind, tmp_path):
    name = picture_file(7, kind)
    assert (tmp_path / name).resolve().parent == tmp_path and name.startswith("07-")
    (tmp_path / name).touch()

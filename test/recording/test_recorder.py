import errno
import threading
from pathlib import Path

import pytest

from reasonseg_ros.recording import folder as folders
from reasonseg_ros.recording.content import HISTORY
from reasonseg_ros.recording.folder import BoundedFolder, file_name
from reasonseg_ros.recording.reading import read_black_boxes
from reasonseg_ros.recording.recorder import QUEUE
from reasonseg_ros.types import Mode
from test.live.following.test_propagation import picture
from test.live.robot import until


def boxes_in(folder):
    return [box for path in sorted(Path(folder).glob("*.mcap")) for box in read_black_boxes(path)]


def statuses(folder):
    return [box.status for box in boxes_in(folder)]


@pytest.mark.parametrize(
    ("answers", "kept"), [("never", []), ("flagged", []), ("failed", ["failed"]), ("all", ["failed", "ok"])]
)
def test_the_setting_decides_which_answers_are_recorded(recorded_robot, tmp_path, answers, kept):
    robot = recorded_robot(answers=answers)
    robot.show(picture(1))
    robot.ask(query_id="good")
    robot.wait(1)

    def fall_over(frame):
        raise RuntimeError("fell over")

    robot.reasoner.pause = fall_over
    robot.ask(query_id="bad")
    robot.wait(2)
    assert robot.recorder.close(30)
    assert sorted(statuses(tmp_path / "boxes")) == kept
    assert robot.health.written == len(kept) and not robot.health.lost


def test_a_recording_has_the_images_of_both_sides_of_the_moment(recorded_robot, tmp_path):
    robot = recorded_robot(answers="all", around_s=0.5, around_images=3)
    frames = [picture(tenth) for tenth in range(1, 30)]
    robot.show(*frames[:15])
    moving_on = threading.Event()
    robot.reasoner.pause = lambda frame: (robot.show(*frames[15:]), moving_on.set())
    robot.ask()
    robot.wait(1)
    assert robot.recorder.close(30)
    path = next((tmp_path / "boxes").iterdir())
    (box,) = read_black_boxes(path)
    assert [frame.stamp_ns for frame in box.frames] == [frames[14].stamp_ns]
    tenths = [stamp // 100_000_000 for topic, stamp, _ in raw(path) if topic == "/camera/image/compressed"]
    # 0.5 s before, the moment itself, and up to the image that the answer was propagated to.
    assert tenths[:4] == [10, 12, 14, 15] and tenths[-1] == 29 and len(tenths) == 7
    assert box.segmentation.frame.stamp_ns == frames[14].stamp_ns


def raw(path):
    from reasonseg_ros.bags import BagReader

    with BagReader(path) as reader:
        return list(reader.raw())


def test_a_question_about_the_past_is_recorded_with_all_images_that_were_shown(recorded_robot, tmp_path):
    robot = recorded_robot(answers="all")
    frames = [picture(tenth) for tenth in range(1, 9)]
    robot.show(*frames)
    robot.ask(Mode.HISTORY)
    robot.wait(1)
    assert robot.recorder.close(30)
    (box,) = boxes_in(tmp_path / "boxes")
    assert box.asked == HISTORY and [frame.stamp_ns for frame in box.frames] == [frame.stamp_ns for frame in frames]
    assert box.query.mode is Mode.HISTORY and box.status == "ok"


def test_an_answer_is_flagged_after_it_was_given(recorded_robot, tmp_path):
    robot = recorded_robot(answers="flagged")
    robot.show(picture(1))
    for query_id in ("a", "b"):
        robot.ask(query_id=query_id)
    robot.wait(2)
    came = threading.Event()
    reported = []
    robot.recorder.flag("a", "the wrong one", lambda *result: (reported.append(result), came.set()))
    assert came.wait(30)
    ((path, problem),) = reported
    (box,) = read_black_boxes(Path(path))
    assert (box.query.query_id, box.is_flagged, box.note, problem) == ("a", True, "the wrong one", "")
    robot.recorder.flag("c", "", lambda *result: reported.append(result))
    assert reported[1][0] == "" and "no answer to 'c' is in memory; there are answers to a, b" in reported[1][1]


def test_only_the_last_answers_are_kept_in_memory(recorded_robot):
    robot = recorded_robot(answers="flagged", kept_answers=2)
    robot.show(picture(1))
    for number in range(4):
        robot.ask(query_id=f"q{number}")
    robot.wait(4)
    until(lambda: not robot.recorder._waiting)
    reported = []
    robot.recorder.flag("q0", "", lambda *result: reported.append(result))
    assert "there are answers to q2, q3" in reported[0][1]


def test_a_disk_that_fails_costs_recordings_and_nothing_else(recorded_robot, tmp_path, monkeypatch):
    problems = []
    robot = recorded_robot(answers="all", on_problem=problems.append)
    full = OSError(errno.ENOSPC, "No space left on device")

    def no_space(*_):
        raise full

    monkeypatch.setattr(folders.os, "fsync", no_space)
    robot.show(picture(1))
    robot.ask(query_id="a")
    robot.wait(1)
    until(lambda: robot.health.lost)
    assert robot.health.lost == {"No space left on device": 1} and "free space there" in problems[0]
    assert list((tmp_path / "boxes").iterdir()) == []  # not even a part of a file
    monkeypatch.undo()
    robot.ask(query_id="b")
    assert str(robot.wait(2).answer.status) == "ok"
    assert robot.recorder.close(30)
    assert robot.health.written == 1


def test_a_folder_that_cannot_be_made_is_a_problem_of_the_recording(recorded_robot, tmp_path):
    (tmp_path / "file").write_text("no folder")
    problems = []
    robot = recorded_robot(tmp_path / "file" / "boxes", answers="all", on_problem=problems.append)
    robot.show(picture(1))
    robot.ask()
    assert str(robot.wait(1).answer.status) == "ok"
    until(lambda: robot.health.lost)
    assert "a part of the path is a file" in problems[-1]


def test_more_answers_than_the_queue_holds_are_counted(recorded_robot, tmp_path):
    robot = recorded_robot(answers="all", around_s=60.0)
    robot.show(picture(1))
    for number in range(QUEUE + 2):
        robot.ask(query_id=f"q{number}")
        robot.wait(number + 1)
    assert robot.health.lost == {"the queue was full": 2}
    assert robot.recorder.close(30)  # those that wait are written at the end, without later images
    assert len(boxes_in(tmp_path / "boxes")) == QUEUE


def test_the_oldest_files_make_room_and_nobody_elses(tmp_path):
    (tmp_path / "my_bag.mcap").write_bytes(bytes(1000))
    (tmp_path / "blackbox_mine.mcap").write_bytes(bytes(1000))
    kept = BoundedFolder(tmp_path)
    names = [file_name(f"2026-11-28T00:00:0{number}.000Z", "ok", "q") for number in range(5)]
    for name in names:
        kept.keep(name, bytes(400), 1000)
    assert [path.name for path in kept.files()] == names[3:]
    kept.keep(names[4], bytes(600), 1000)  # replaced: its old size does not count
    assert [path.name for path in kept.files()] == names[3:]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in names) == [
        "blackbox_mine.mcap",
        "my_bag.mcap",
    ]


@pytest.mark.parametrize("query_id", ["../../etc/passwd", "a/b", "", "ä\n", "x" * 300])
def test_a_question_id_is_no_path(tmp_path, query_id):
    name = file_name("2026-11-28T00:00:00.000Z", "ok", query_id)
    assert BoundedFolder(tmp_path).keep(name, b"1", 10).parent == tmp_path
    assert len(BoundedFolder(tmp_path).files()) == 1

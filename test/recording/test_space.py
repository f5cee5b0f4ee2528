"""Depth and calibration in black boxes: positions in space are given again from the file alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mcap.reader import make_reader

from reasonseg_ros import cli
from reasonseg_ros.bags import BagReader
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.messages import depth_from_image
from reasonseg_ros.recording.content import from_text, rgb_sha256, to_text
from reasonseg_ros.recording.reading import read_black_boxes
from reasonseg_ros.recording.space_values import depth_sha256
from reasonseg_ros.spatial import CameraPose, Intrinsics
from test.live.following.test_propagation import picture
from test.live.robot import until
from test.recording.boxes import HEIGHT, TEXT, WIDTH, black_box, noisy_frame, scripted_method, write_box

LENS = Intrinsics(50.0, 50.0, 32.0, 24.0, (0.1, -0.02, 0.0, 0.001, 0.0))
POSE = CameraPose("base_link", np.array([[1.0, 0, 0, 0.25], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]))


def deep_frame(**more):
    depth_m = np.full((HEIGHT, WIDTH), 0.8, np.float32)
    depth_m[8:24, 8:24] = 0.5
    depth_m[0, 0] = np.nan
    return replace(noisy_frame(), depth_m=depth_m, intrinsics=LENS, camera_pose=POSE, **more)


def deep_box(tmp_path):
    return write_box(tmp_path / "box.mcap", black_box(frame=deep_frame()))


def test_depth_lens_and_pose_come_back_exactly(tmp_path):
    (box,) = read_black_boxes(deep_box(tmp_path))
    frame, expected = box.frames[0], deep_frame()
    np.testing.assert_array_equal(frame.depth_m, expected.depth_m)
    assert frame.intrinsics == LENS and frame.camera_pose.frame_id == "base_link"
    np.testing.assert_array_equal(frame.camera_pose.target_from_camera, POSE.target_from_camera)
    assert box.segmentation.frame is frame


def test_other_programs_read_depth_and_calibration(tmp_path):
    with deep_box(tmp_path).open("rb") as stream:
        topics = {channel.topic: schema.name for schema, channel, _ in make_reader(stream).iter_messages()}
    assert topics["/camera/depth"] == "sensor_msgs/msg/Image"
    assert topics["/camera/camera_info"] == "sensor_msgs/msg/CameraInfo"


def test_a_rectified_image_keeps_its_lens(tmp_path):
    turned = replace(LENS, distortion=(), camera_from_lens=(1.0, 0, 0, 0, 0, 1, 0, -1, 0))
    path = write_box(tmp_path / "box.mcap", black_box(frame=replace(deep_frame(), intrinsics=turned)))
    (box,) = read_black_boxes(path)
    assert box.frames[0].intrinsics == turned


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["depth_sha256"], "0" * 64, "not in the file with the recorded values"),
        (["intrinsics", "distortion"], [1.0], "1 distortion coefficients"),
        (["intrinsics", "fx_px"], "wide", "damaged"),
        (["camera_pose", "target_from_camera"], [[1.0]], "damaged"),
        (["intrinsics"], [], "damaged"),
    ],
)
def test_damaged_values_are_refused_with_the_reason(path, value, reason):
    frame = deep_frame()
    values = json.loads(to_text(black_box(frame=frame)))
    place = values["images"][0]["space"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidInput, match=reason):
        from_text(json.dumps(values), {rgb_sha256(frame.rgb): frame.rgb}, {depth_sha256(frame.depth_m): frame.depth_m})


@pytest.fixture
def loaded(monkeypatch):
    def use(text=TEXT):
        monkeypatch.setattr(
            "reasonseg_ros.methods.loading.load_method", lambda config, **_: scripted_method(text, config)
        )

    return use


def test_a_replay_gives_the_position_and_says_how_far_another_one_is(tmp_path, loaded, capsys):
    path = deep_box(tmp_path)
    loaded()
    assert cli.main(["replay", str(path)]) == 0
    output = capsys.readouterr().out
    # The square's middle is 16.5 and 8.5 pixels from the principal point, at 0.5 m and 50 pixels: -0.165, -0.085.
    assert "identical; at (0.0" in output and "m in base_link" in output
    x_m, y_m, z_m = (float(word) for word in output.split("at (")[1].split(")")[0].split(", "))
    assert (x_m, y_m, z_m) == pytest.approx((0.25 - 0.165, -0.085, 1.5), abs=0.006)
    loaded(TEXT.replace("[8, 8, 24, 24]", "[8, 8, 24, 18]"))
    assert cli.main(["replay", str(path), "--box-px", "9", "--mask-iou", "0.1", "--any-text"]) == 1
    assert "differs: positions by up to 0.0" in capsys.readouterr().out
    assert cli.main(["replay", str(path), "--box-px", "9", "--mask-iou", "0.1", "--any-text", "--position-m", "1"]) == 0


def test_a_recorder_keeps_the_depth_of_the_image_that_was_answered(recorded_robot, tmp_path):
    robot = recorded_robot(answers="all")
    frame = picture(5)
    depth_m = np.full(frame.rgb.shape[:2], 0.7, np.float32)
    robot.show(replace(frame, depth_m=depth_m, intrinsics=LENS))
    robot.ask()
    robot.wait(1)
    until(lambda: robot.health.written == 1)
    (path,) = (tmp_path / "boxes").glob("*.mcap")
    (box,) = read_black_boxes(path)
    np.testing.assert_array_equal(box.frames[0].depth_m, depth_m)
    assert box.frames[0].intrinsics == LENS and box.frames[0].camera_pose is None


def test_a_merged_set_keeps_depth_and_calibration(tmp_path, loaded, capsys):
    first = deep_box(tmp_path)
    second = write_box(tmp_path / "second.mcap", black_box("q2", frame=replace(deep_frame(), rgb=noisy_frame(7).rgb)))
    assert cli.main(["bag", "merge", str(tmp_path / "set"), str(first), str(second)]) == 0
    with BagReader(tmp_path / "set") as bag:
        depths = [depth_from_image(message) for _, _, message in bag.messages(["/camera/depth"])]
        assert bag.counts["/camera/camera_info"] == 2
    assert len(depths) == 2
    assert [box.frames[0].intrinsics for box in read_black_boxes(tmp_path / "set")] == [LENS, LENS]
    loaded()
    capsys.readouterr()
    assert cli.main(["replay", str(tmp_path / "set")]) == 0
    assert capsys.readouterr().out.count("m in base_link") == 2

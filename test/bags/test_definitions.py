"""Messages whose type is of another version than this package's."""

import numpy as np
import pytest

from reasonseg_ros import bags, cli
from reasonseg_ros.bags.restamping import Restamping
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.types import Query
from test.bags.conftest import SECOND
from test.bags.other_versions import CAMERA_INFO, GROUND_TRUTH, WITH_SEQUENCE, WITH_SERIAL, write_versions

LENS = Intrinsics(500.0, 510.0, 4.0, 3.0)


@pytest.fixture
def messages():
    """Two images with calibration, and a question with ground truth about the first one."""
    found = []
    for number in range(2):
        stamp_ns = (5 + number) * SECOND
        image = bags.image_message(np.full((6, 8, 3), 40 + number, np.uint8), stamp_ns, "camera")
        info = bags.camera_info_message(LENS, (8, 6), stamp_ns, "camera")
        found += [("/camera/image", image, stamp_ns), ("/camera/camera_info", info, stamp_ns + 1)]
    query = Query("the mug?", "q")
    truth = bags.ground_truth_message(query, np.ones((6, 8), bool), 5 * SECOND, "camera", kind="attribute")
    return [*found, ("/truth", truth, 7 * SECOND)]


def focal_lengths(path):
    """As the bag's bytes and this package's definition give them, which is what is written to other bags."""
    with bags.BagReader(path) as reader:
        infos = [data for _, _, data in reader.raw(["/camera/camera_info"])]
    return [bags.typestore().deserialize_cdr(data, CAMERA_INFO).k[0] for data in infos]


@pytest.mark.parametrize("versions", [lambda _: WITH_SERIAL, lambda number: WITH_SERIAL if number else {}])
def test_bytes_are_converted_to_this_packages_definition(tmp_path, messages, versions):
    assert focal_lengths(write_versions(tmp_path / "a.mcap", messages, versions)) == [500.0, 500.0]


def test_merged_bags_hold_what_the_bag_defines(tmp_path, messages):
    path = write_versions(tmp_path / "a.mcap", messages, lambda number: WITH_SEQUENCE | (WITH_SERIAL if number else {}))
    assert cli.main(["bag", "merge", str(tmp_path / "set"), str(path)]) == 0
    with bags.BagReader(tmp_path / "set") as reader:
        stamps_ns = [bags.header_stamp_ns(one.header) for _, _, one in reader.messages(["/camera/image/compressed"])]
        assert stamps_ns == [5 * SECOND]
    assert focal_lengths(tmp_path / "set") == [500.0]


def test_bytes_that_lack_a_field_are_refused(tmp_path, messages):
    lacking = {CAMERA_INFO: ("float64[9] k\n", "")}
    path = write_versions(tmp_path / "a.mcap", messages, lambda _: lacking)
    with pytest.raises(InvalidInput, match="/camera/camera_info is a sensor_msgs/msg/CameraInfo of another version"):
        focal_lengths(path)


def test_stamps_after_a_sequence_number_are_found(tmp_path, messages, capsys):
    path = write_versions(tmp_path / "a.mcap", messages, lambda _: WITH_SEQUENCE)
    with bags.BagReader(path) as reader:
        restamping = Restamping(5 * SECOND, 100 * SECOND)
        record = next(reader.records(["/camera/image"]))
        moved = bags.decoded(type(record)(record.topic, record.stamp_ns, restamping.data(record)))
    assert (moved.header.seq, bags.header_stamp_ns(moved.header)) == (7, 100 * SECOND)
    black = bags.image_message(np.zeros((6, 8, 3), np.uint8), 0, "camera")
    write_versions(
        path, [("/camera/image", black, SECOND), ("/camera/image", black, 2 * SECOND)], lambda _: WITH_SEQUENCE
    )
    assert cli.main(["bag", "info", str(path)]) == 0
    assert "2 images without a header stamp" in capsys.readouterr().out


def test_info_names_ground_truth_of_another_version(tmp_path, messages, capsys):
    path = write_versions(tmp_path / "a.mcap", messages, lambda _: {GROUND_TRUTH: ("string kind\n", "")})
    assert cli.main(["bag", "info", str(path)]) == 1
    assert "a reasonseg_ros/msg/GroundTruth of another version" in capsys.readouterr().out

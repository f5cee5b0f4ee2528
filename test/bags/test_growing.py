"""A bag that grows part by part is an ordinary bag at any time."""

import errno
import os

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from reasonseg_ros import bags
from reasonseg_ros.bags.growing import REMOVED, GrowingBag
from reasonseg_ros.errors import InvalidInput

TOPIC = "/camera/image"


def image(stamp_ns):
    def write(bag):
        rgb = np.full((4, 6, 3), stamp_ns, np.uint8)
        bag.write(TOPIC, bags.image_message(rgb, stamp_ns, "camera"), stamp_ns)

    return write


def stamps_ns(folder):
    with bags.BagReader(folder) as reader:
        found = [stamp_ns for _, stamp_ns, _ in reader.messages()]
        assert not reader.notes and not reader.shortfalls()
    return found


def test_parts_are_read_as_one_bag_by_this_package_and_by_rosbags(tmp_path):
    bag = GrowingBag(tmp_path / "set")
    assert [bag.add(image(stamp_ns)) for stamp_ns in (5, 7, 9)] == ["part_0001", "part_0002", "part_0003"]
    assert stamps_ns(tmp_path / "set") == [5, 7, 9]
    with AnyReader([tmp_path / "set"]) as reader:
        assert [stamp_ns for _, stamp_ns, _ in reader.messages()] == [5, 7, 9]
        assert (reader.message_count, reader.start_time) == (3, 5)
    assert not [path.name for path in (tmp_path / "set").iterdir() if path.name.startswith(".")]


def test_a_part_that_is_removed_can_be_restored(tmp_path):
    bag = GrowingBag(tmp_path / "set")
    for stamp_ns in (5, 9):
        bag.add(image(stamp_ns))
    bag.remove("part_0001")
    assert stamps_ns(tmp_path / "set") == [9]
    bag.restore("part_0001")
    assert stamps_ns(tmp_path / "set") == [5, 9] and list(bag.parts) == ["part_0001", "part_0002"]
    bag.remove("part_0002")
    bag.remove("part_0001")
    assert not (tmp_path / "set" / "metadata.yaml").exists()
    with pytest.raises(InvalidInput, match="no part 'part_0001'; there are none"):
        bag.remove("part_0001")


def test_a_part_that_cannot_be_removed_stays_in_its_place(tmp_path, monkeypatch):
    bag = GrowingBag(tmp_path / "set")
    for stamp_ns in (5, 9):
        bag.add(image(stamp_ns))
    replace = os.replace

    def broken(source, target):
        if str(target).endswith(REMOVED):
            raise OSError(errno.EIO, "the disk failed")
        replace(source, target)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="the disk failed"):
        bag.remove("part_0001")
    assert stamps_ns(tmp_path / "set") == [5, 9] and list(bag.parts) == ["part_0001", "part_0002"]


def test_names_are_not_used_again(tmp_path):
    bag = GrowingBag(tmp_path / "set")
    bag.add(image(5))
    bag.add(image(6))
    bag.remove("part_0002")
    assert bag.add(image(7)) == "part_0003"
    assert GrowingBag(tmp_path / "set").next_name() == "part_0004"


def test_an_error_while_a_part_is_written_leaves_the_bag_as_it_was(tmp_path):
    bag = GrowingBag(tmp_path / "set")
    bag.add(image(5))
    before = (tmp_path / "set" / "metadata.yaml").read_text()

    def fails(writer):
        image(6)(writer)
        raise OSError(28, "no space")

    with pytest.raises(OSError, match="no space"):
        bag.add(fails)
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["metadata.yaml", "part_0001.mcap"]
    assert (tmp_path / "set" / "metadata.yaml").read_text() == before
    assert bag.add(image(7)) == "part_0002"


def test_what_a_killed_process_left_is_put_right(tmp_path):
    bag = GrowingBag(tmp_path / "set")
    for stamp_ns in (5, 6):
        bag.add(image(stamp_ns))
    (tmp_path / "set" / ".adding.x").mkdir()
    (tmp_path / "set" / ".part_0009.removed").write_bytes(b"old")
    (tmp_path / "set" / "metadata.yaml").unlink()
    assert list(GrowingBag(tmp_path / "set").parts) == ["part_0001", "part_0002"]
    assert stamps_ns(tmp_path / "set") == [5, 6]
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "metadata.yaml", "part_0001.mcap", "part_0002.mcap",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["notes.txt", "other_0001.mcap", "recording.mcap"])
def test_a_folder_with_something_else_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InvalidInput, match="which is no part of this bag"):
        GrowingBag(tmp_path)
    assert (tmp_path / name).read_bytes() == b"x"


def test_a_damaged_part_is_refused_by_its_name(tmp_path):
    GrowingBag(tmp_path / "set").add(image(5))
    part = tmp_path / "set" / "part_0001.mcap"
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(InvalidInput, match=r"part_0001\.mcap"):
        GrowingBag(tmp_path / "set")

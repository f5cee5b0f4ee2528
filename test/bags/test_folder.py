"""Bag folders: what metadata.yaml says, what lies there, and what is counted."""

import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import yaml

from reasonseg_ros import bags, cli
from reasonseg_ros.bags import unpacking
from reasonseg_ros.bags.files import bag_files
from reasonseg_ros.bags.unpacking import zstd
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.reading.bag_info import bag_info
from reasonseg_ros.types import Query


def edit(bag, change):
    path = bag / "metadata.yaml"
    described = yaml.safe_load(path.read_text())
    change(described["rosbag2_bagfile_information"])
    path.write_text(yaml.safe_dump(described, sort_keys=False))


def split_bag(made, folder, parts):
    """A folder of several MCAP files, with the metadata of a whole bag."""
    made.write_rosbag(folder, [message for part in parts for message in part])
    next(folder.glob("*.mcap")).unlink()
    names = [f"part_{number}.mcap" for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        made.write_mcap(folder / name, part)
    edit(folder, lambda information: information.update(relative_file_paths=names))
    return folder


def test_the_parts_of_a_long_recording_come_in_the_order_of_their_numbers(tmp_path):
    names = ["bag_0.mcap", "bag_1.mcap", "bag_2.mcap", "bag_9.mcap", "bag_10.mcap", "bag_11.mcap", "bag_100.mcap"]
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in bag_files(tmp_path)[0]] == names


def test_split_files_that_overlap_are_merged_by_time(made, tmp_path):
    messages = made.recording(9)
    bag = split_bag(made, tmp_path / "bag", [messages[1::3], messages[::3], messages[2::3]])
    assert made.read(bag) == made.expected(messages)
    (bag / "metadata.yaml").unlink()
    assert made.read(bag) == made.expected(messages)


def test_only_the_files_that_metadata_names_are_read_and_others_are_reported(made, tmp_path):
    messages = made.recording(3)
    bag = made.write_rosbag(tmp_path / "bag", messages)
    file = next(bag.glob("*.mcap"))
    shutil.copy(file, bag / "bag_recovered.mcap")
    assert made.read(bag) == made.expected(messages)
    info = bag_info(bag)
    assert info.is_whole and "not read: bag_recovered.mcap" in info.notes[0]


def test_what_may_be_a_copy_is_reported_where_no_metadata_names_the_files(made, tmp_path):
    messages = made.recording(4)
    made.write_mcap(tmp_path / "a_0.mcap", messages[:4])
    made.write_mcap(tmp_path / "a_1.mcap", messages[4:])
    assert bag_info(tmp_path).notes == []
    made.write_mcap(tmp_path / "a_1_recovered.mcap", messages[4:6])
    (note,) = bag_info(tmp_path).notes
    assert "a_1.mcap and a_1_recovered.mcap begin at the same time" in note


def test_a_file_that_is_named_and_not_there_is_reported_with_what_it_costs(made, tmp_path, capsys):
    messages = made.recording(6)
    bag = split_bag(made, tmp_path / "bag", [messages[:6], messages[6:]])
    (bag / "part_1.mcap").unlink()
    assert cli.main(["bag", "info", str(bag)]) == 1
    out = capsys.readouterr().out
    assert "part_1.mcap is missing" in out
    assert "/camera/image: 3 of the 6 messages that metadata.yaml counts were read" in out


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_every_version_of_metadata_is_read(made, tmp_path, version, storage):
    messages = made.recording(3)
    bag = made.write_rosbag(tmp_path / "bag", messages, storage)

    def change(information):
        information["version"] = version
        for topic in information["topics_with_message_count"]:
            about = topic["topic_metadata"]
            if version < 9:
                about["offered_qos_profiles"] = "- history: 1\n  depth: 5\n  durability: 2" if version >= 4 else ""
            if version < 7:
                about.pop("type_description_hash", None)
        removed = {5: ["files"], 6: ["custom_data"], 8: ["ros_distro"], 3: ["compression_format", "compression_mode"]}
        for first, names in removed.items():
            for name in names if version < first else ():
                information.pop(name, None)
        if version < 4:
            information["relative_file_paths"] = [f"bag/{name}" for name in information["relative_file_paths"]]

    edit(bag, change)
    assert made.read(bag) == made.expected(messages)
    assert bag_info(bag).is_whole


@pytest.mark.parametrize("identifier", ["", None, "my_storage"])
def test_the_files_say_what_they_are_not_the_storage_identifier(made, tmp_path, identifier):
    messages = made.recording(2)
    for storage in ("mcap", "sqlite3"):
        bag = made.write_rosbag(tmp_path / storage, messages, storage)
        edit(bag, lambda information: information.update(storage_identifier=identifier))
        assert made.read(bag) == made.expected(messages)


@pytest.mark.parametrize(
    "text", ["", "no: bag", "]", "a: &a [*a, *a]", "rosbag2_bagfile_information: 5", "\x00", "[" * 100_000]
)
def test_metadata_that_cannot_be_read_costs_no_message(made, tmp_path, text):
    messages = made.recording(2)
    bag = made.write_rosbag(tmp_path / "bag", messages)
    (bag / "metadata.yaml").write_text(text)
    assert made.read(bag) == made.expected(messages)
    assert "metadata.yaml cannot be read" in bag_info(bag).notes[0]


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({"relative_file_paths": "bag.mcap"}, "is no list"),
        ({"relative_file_paths": 5}, "is no list"),
        ({"relative_file_paths": [""]}, "names no file"),
        ({"relative_file_paths": ["bag/.."]}, "names no file"),
        ({"relative_file_paths": ["bag.mcap\0"]}, "names no file"),
        ({"topics_with_message_count": {"/query": 3}}, "is no list"),
        ({"topics_with_message_count": [5]}, "TypeError"),
        ({"topics_with_message_count": [{"topic_metadata": {"name": "/query"}}]}, "message_count"),
        *[
            ({"topics_with_message_count": [{"topic_metadata": {"name": "/a"}, "message_count": count}]}, "a message_c")
            for count in (float("inf"), float("nan"), -4, 1.5, "3", None, True, 2**64)
        ],
    ],
)
def test_odd_values_in_metadata_are_named_and_cost_no_message(made, tmp_path, capsys, change, reported):
    messages = made.recording(2)
    bag = made.write_rosbag(tmp_path / "bag", messages)
    edit(bag, lambda information: information.update(change))
    assert made.read(bag) == made.expected(messages)
    assert cli.main(["bag", "info", str(bag)]) == 0
    assert reported in capsys.readouterr().out.partition("note: metadata.yaml cannot be read")[2]


def test_a_topic_of_metadata_that_no_file_has_is_reported_by_every_verb(made, tmp_path, capsys):
    """It may have been the camera; another one must not replace it silently."""
    bag = made.write_rosbag(tmp_path / "bag", made.recording(3))
    lost = {"topic_metadata": {"name": "/front\x1b[2J", "type": "sensor_msgs/msg/Image"}, "message_count": 9}
    edit(bag, lambda information: information["topics_with_message_count"].append(lost))
    reported = "/front\\x1b[2J: 0 of the 9 messages that metadata.yaml counts were read"
    assert cli.main(["bag", "info", str(bag)]) == 1
    out = capsys.readouterr().out
    assert reported in out and "\x1b" not in out
    *clips, last = read_clips(bag)
    assert [len(clip.samples) for clip in clips] == [1, 1, 1]
    assert not last.frames and reported in last.unreadable[0].reason
    with pytest.raises(InvalidInput, match="0 of the 9"):
        made.read(bag)
    with bags.BagReader(bag) as reader:
        assert len(list(reader.raw(["/query"]))) == 3, "who asks for a topic that is whole gets it"


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("names", [["b", "a", "c"], ["c", "b", "a"]])
def test_split_files_come_by_time_in_whatever_order_they_are_named(made, tmp_path, storage, names):
    messages = made.recording(30)
    bag = made.write_rosbag(tmp_path / "bag", messages, storage)
    suffix = next(path for path in bag.iterdir() if path.name != "metadata.yaml").suffix
    next(bag.glob(f"*{suffix}")).unlink()
    for name, part in zip("abc", (messages[:25], messages[15:45][10:], messages[45:]), strict=True):
        backwards = part[::-1]
        if storage == "mcap":
            made.write_mcap(bag / f"{name}.mcap", backwards)
        else:
            made.write_sqlite(bag / f"{name}.db3", backwards).close()
    edit(bag, lambda information: information.update(relative_file_paths=[f"{name}{suffix}" for name in names]))
    assert made.read(bag) == made.expected(messages)
    (bag / f"b{suffix}").write_bytes(b"")
    with pytest.raises(InvalidInput, match="is empty"):
        made.read(bag)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compression", ["FILE", "MESSAGE"])
def test_a_compressed_bag_that_was_unpacked_by_hand_is_read_with_its_old_metadata(made, tmp_path, storage, compression):
    messages = made.recording(4)
    bag = made.write_rosbag(tmp_path / "bag", messages, storage, compression)
    for path in bag.glob("*.zstd"):
        path.with_suffix("").write_bytes(zstd.decompress(path.read_bytes()))
        path.unlink()
    assert made.read(bag) == made.expected(messages)
    for path in [path for path in bag.iterdir() if path.suffix in (".mcap", ".db3")]:
        path.with_name(f"{path.name}.zstd").write_bytes(zstd.compress(path.read_bytes()))
        path.unlink()
    assert made.read(bag) == made.expected(messages)
    assert bag_info(bag).is_whole


def test_no_file_outside_of_the_folder_is_read(made, tmp_path):
    made.write_mcap(tmp_path / "other.mcap", made.recording(2))
    for name in ("../other.mcap", str(tmp_path / "other.mcap")):
        bag = made.write_rosbag(tmp_path / "bag", made.recording(1))
        edit(bag, lambda information, name=name: information.update(relative_file_paths=[name]))
        with pytest.raises(InvalidInput, match="is missing"):
            made.read(bag)
        shutil.rmtree(bag)


def test_another_compression_is_named(made, tmp_path):
    bag = made.write_rosbag(tmp_path / "bag", made.recording(1))
    edit(bag, lambda information: information.update(compression_format="lz4", compression_mode="MESSAGE"))
    with pytest.raises(InvalidInput, match="'lz4'; only zstd"):
        made.read(bag)


@pytest.mark.parametrize("stated", [True, False])
def test_a_compressed_file_that_grows_too_much_is_refused(tmp_path, monkeypatch, stated):
    monkeypatch.setattr(unpacking, "LEAST_LIMIT_BYTES", 2**20)
    zeros = bytes(16 * 2**20)
    packed = zstd.compress(zeros)
    if not stated:
        compressor = zstd.ZstdCompressor()
        packed = compressor.compress(zeros[:100]) + compressor.compress(zeros) + compressor.flush()
    (tmp_path / "a.mcap.zstd").write_bytes(packed)
    with pytest.raises(InvalidInput, match="unpacks to more than"):
        bag_info(tmp_path / "a.mcap.zstd")


def test_a_compressed_file_that_breaks_off_gives_what_is_there_and_says_so(made, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 600, 800, 3), np.uint8)
    images = [("/camera/image", bags.image_message(rgb, t, "camera"), t) for t, rgb in enumerate(noise, 1)]
    bag = made.write_rosbag(tmp_path / "bag", images, compression="FILE")
    file = next(bag.glob("*.zstd"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    info = bag_info(bag)
    assert 10 < info.messages["/camera/image"] < 30
    assert "zstd data break off" in info.damages[0] and "of the 40 messages" in info.missing[0]
    file.write_bytes(whole[:100])
    with pytest.raises(InvalidInput, match="zstd data break off"):
        bag_info(bag)


def test_unpacked_copies_are_removed(made, tmp_path, monkeypatch):
    bag = made.write_rosbag(tmp_path / "bag", made.recording(2), compression="FILE")
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    made.read(bag)
    assert list((tmp_path / "copies").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.mcap", b"", "is empty"),
        ("a.db3", b"", "is empty"),
        ("a.mcap", b"junk that is longer than the mark", "is no MCAP file"),
        ("a.mcap", b"\x89MCAP0\r\n", "breaks off"),
        ("a.bag", b"#ROSBAG V2.0\n", "ROS 1"),
        ("a.txt", b"", "is not a bag file"),
        ("a.mcap.zstd", b"\x28\xb5\x2f\xfdjunk", "zstd"),
    ],
)
def test_what_is_no_bag_is_named(tmp_path, name, content, reason, capsys):
    (tmp_path / name).write_bytes(content)
    for verb in (["bag", "info"], *([["play"]] if find_spec("rclpy") else [])):
        assert cli.main([*verb, str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1


def test_fewer_messages_than_counted_end_every_verb_with_both_numbers(made, tmp_path, capsys):
    """The recorder's metadata knows of more than the file holds."""
    bag = made.write_rosbag(tmp_path / "bag", made.recording(3))

    def change(information):
        for topic in information["topics_with_message_count"]:
            topic["message_count"] = 5

    edit(bag, change)
    lost = [part for clip in read_clips(bag) for part in clip.unreadable]
    assert [item.samples for item in lost] == [0, 2]
    assert "/query: 3 of the 5 messages that metadata.yaml counts were read" in lost[1].reason
    assert cli.main(["bag", "info", str(bag)]) == 1
    assert "/camera/image: 3 of the 5 messages" in capsys.readouterr().out
    with pytest.raises(InvalidInput, match="3 of the 5"):
        made.read(bag)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_topics_without_messages_are_no_candidates(made, tmp_path, storage):
    empty = [("/right/image", "sensor_msgs/msg/Image", 0), ("/truth", "reasonseg_ros/msg/GroundTruth", 0)]
    bag = made.write_rosbag(tmp_path / "bag", made.recording(2) + empty, storage)
    assert [sample.sample_id for clip in read_clips(bag) for sample in clip.samples] == ["q0", "q1"]
    assert bag_info(bag).messages["/right/image"] == 0
    with pytest.raises(InvalidInput, match="/right/image has no messages"):
        next(read_clips(bag, "/right/image"))


def test_images_without_a_stamp_have_the_time_of_their_recording(made, tmp_path, caplog):
    grey = [
        (10 * number, bags.image_message(np.full((6, 8, 3), number, np.uint8), 0, "camera")) for number in range(1, 6)
    ]
    messages = [("/camera/image", image, stamp_ns) for stamp_ns, image in grey]
    messages.append(("/query", bags.query_message(Query("which?", "a")), 35))
    bag = made.write_mcap(tmp_path / "a.mcap", messages)
    notes = []
    (clip,) = read_clips(bag, on_note=notes.append)
    (sample,) = clip.samples
    frame = sample.load_frame()
    assert (sample.stamp_ns, int(frame.rgb.mean())) == (30, 3)
    assert len(notes) == 1 and "5 images without a header stamp" in notes[0]
    list(read_clips(bag))
    assert "5 images without a header stamp" in caplog.text
    assert "5 images without a header stamp" in bag_info(bag).notes[0]


def test_a_bag_is_not_written_through_a_planted_link(tmp_path):
    (tmp_path / "victim").mkdir()
    for name in ("bag", "dangling"):
        (tmp_path / name).symlink_to(tmp_path / ("victim" if name == "bag" else "nowhere"))
        with pytest.raises(InvalidInput, match="symbolic link"):
            bags.BagWriter(tmp_path / name, force=True)
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit(143)])
def test_a_bag_that_cannot_be_begun_leaves_nothing(tmp_path, monkeypatch, error):
    def fail(_):
        raise error

    monkeypatch.setattr("rosbags.rosbag2.Writer.open", fail)
    with pytest.raises(type(error)), bags.BagWriter(tmp_path / "bag"):
        pass
    assert list(tmp_path.iterdir()) == []

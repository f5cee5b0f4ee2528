import struct

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from reasonseg_ros import bags, cli
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.bag_info import bag_info
from reasonseg_ros.types import Query

START_NS = 1_700_000_000 * 10**9
CHUNK = 0x06


@pytest.fixture
def bag(tmp_path):
    """40 images of noise, which fill several chunks, with a question each."""
    rng = np.random.default_rng(0)
    with bags.BagWriter(tmp_path / "bag") as writer:
        for number in range(40):
            stamp_ns = START_NS + number * 10**8
            # Coarse noise: zstd stores fine noise as it is, and damage to that would not be noticed without a checksum.
            rgb = rng.integers(0, 256, (30, 40, 3), np.uint8).repeat(16, 0).repeat(16, 1)
            writer.write("/camera/image", bags.image_message(rgb, stamp_ns, "camera"), stamp_ns)
            truth = bags.ground_truth_message(
                Query("a mug", f"q{number // 2}"), rgb[..., 0] > 128, stamp_ns, "camera",
                kind=("function", "relation")[number % 2], split="val",
            )  # fmt: skip
            writer.write("/reasonseg/ground_truth", truth, stamp_ns + 1)
    return tmp_path / "bag"


@pytest.fixture
def chunks(bag):
    """Offset and length of every chunk, found by walking over the records."""
    data = (bag / "bag.mcap").read_bytes()
    found, offset = [], 8
    while offset + 9 < len(data) - 8:
        kind, length = struct.unpack_from("<BQ", data, offset)
        if kind == CHUNK:
            found.append((offset, length))
        offset += 9 + length
    assert len(found) > 3
    return found


def edit(bag, change):
    path = bag / "bag.mcap"
    data = bytearray(path.read_bytes())
    path.write_bytes(change(data) or data)


def reported(bag, capsys):
    status = cli.main(["bag", "info", str(bag)])
    return status, capsys.readouterr().out


def test_a_sound_bag_is_described(bag, capsys):
    status, out = reported(bag, capsys)
    assert status == 0
    for line in (
        "duration: 3.900 s",
        "messages: 80",
        "  /camera/image (sensor_msgs/msg/Image): 40",
        "  /reasonseg/ground_truth (reasonseg_ros/msg/GroundTruth): 40",
        "ground truths: 40, of 20 questions about 40 images",
        "kinds: function 20, relation 20",
        "splits: val 40",
        "damaged parts: 0",
    ):
        assert line in out.splitlines()


def test_every_message_is_read_as_it_was_written(bag):
    with AnyReader([bag], default_typestore=bags.typestore()) as reader:
        expected = [(connection.topic, stamp_ns, bytes(data)) for connection, stamp_ns, data in reader.messages()]
    with bags.BagReader(bag) as ours:
        assert list(ours.raw()) == expected


def test_a_damaged_chunk_costs_no_other(bag, chunks, capsys):
    offset, length = chunks[1]
    edit(bag, lambda data: data.__setitem__(slice(offset + length // 2, offset + length // 2 + 40), bytes(range(40))))
    with bags.BagReader(bag) as reader:
        damages = [item for item in reader.records() if isinstance(item, bags.Damage)]
    assert [damage.place for damage in damages] == [f"byte {offset}"]
    assert "this chunk are lost" in damages[0].reason
    status, out = reported(bag, capsys)
    assert status == 1 and f"damaged at byte {offset}" in out and "damaged parts: 1" in out
    assert 40 < sum(bag_info(bag).messages.values()) < 80


def test_a_damaged_first_chunk_costs_no_other(bag, chunks, capsys):
    """It names the topics of all the others, as does the end of the file."""
    offset, _ = chunks[0]
    edit(bag, lambda data: data.__setitem__(slice(offset + 53, offset + 93), b"\xff" * 40))  # where zstd begins
    info = bag_info(bag)
    assert len(info.damages) == 1 and f"damaged at byte {offset}" in info.damages[0]
    assert 40 < sum(info.messages.values()) < 80 and len(info.messages) == 2

    last, _ = chunks[-1]
    edit(bag, lambda data: data[: last + 9])
    lines = bag_info(bag).damages
    assert len(lines) == len(chunks), "one for each chunk, however many messages it has"
    assert "messages of unknown topics" in lines[1] and "breaks off" in lines[-1]


def test_a_bag_that_breaks_off_is_read_up_to_there(bag, chunks, capsys):
    offset, length = chunks[-1]
    edit(bag, lambda data: data[: offset + length // 2])
    info = bag_info(bag)
    assert 0 < sum(info.messages.values()) < 80
    (line,) = info.damages
    assert f"damaged at byte {offset}: the file breaks off" in line
    assert reported(bag, capsys)[0] == 1


def test_a_bag_without_its_end_or_metadata_is_read(bag, chunks):
    (bag / "metadata.yaml").unlink()
    offset, length = chunks[-1]
    edit(bag, lambda data: data[: offset + 9 + length])
    info = bag_info(bag)
    assert sum(info.messages.values()) == 80 and len(info.damages) == 1


def test_a_wrong_length_ends_the_reading(bag, chunks):
    offset, _ = chunks[2]
    edit(bag, lambda data: data.__setitem__(slice(offset + 1, offset + 9), b"\xff" * 8))
    info = bag_info(bag)
    assert 0 < sum(info.messages.values()) < 80
    assert f"damaged at byte {offset}" in info.damages[0] and "are not read" in info.damages[0]


@pytest.mark.parametrize("seed", range(9))
def test_no_damage_crashes_it(bag, seed):
    rng = np.random.default_rng(seed)

    def scatter(data):
        for place in rng.integers(8, len(data), 40):
            data[place] = rng.integers(0, 256)
        if seed % 3 == 0:
            return data[: rng.integers(100, len(data))]

    edit(bag, scatter)
    info = bag_info(bag)
    assert sum(info.messages.values()) <= 80
    assert info.damages or seed % 3


def test_what_is_no_bag_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="no bag at"):
        bag_info(tmp_path / "nowhere")
    (tmp_path / "junk.mcap").write_bytes(b"junk that is longer than the mark")
    with pytest.raises(InvalidInput, match="no MCAP file"):
        bag_info(tmp_path / "junk.mcap")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidInput, match="is not a bag"):
        bag_info(tmp_path / "folder")

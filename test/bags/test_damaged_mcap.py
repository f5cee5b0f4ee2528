"""MCAP files that are damaged or contradict themselves: nothing is lost silently."""

import random
import struct
from contextlib import suppress

import pytest
from mcap.records import Statistics
from mcap.stream_reader import CRCValidationError, StreamReader
from mcap.writer import CompressionType, IndexType

from reasonseg_ros import bags, cli
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.bag_info import bag_info
from test.bags.mcap_files import LAYOUTS, chunk_places, records


def test_what_a_damaged_chunk_costs_is_reported_with_both_numbers(made, tmp_path, capsys):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(20), chunk_size=1000)
    begin, length = chunk_places(path)[2]
    data = bytearray(path.read_bytes())
    data[begin + length - 20 : begin + length] = bytes(20)
    path.write_bytes(data)
    info = bag_info(path)
    assert len(info.damages) == 1 and len(info.missing) == 2
    images = info.messages["/camera/image"]
    assert 0 < images < 20
    assert f"/camera/image: {images} of the 20 messages" in info.missing[0]
    assert cli.main(["bag", "info", str(path)]) == 1
    assert info.missing[0] in capsys.readouterr().out
    with pytest.raises(InvalidInput, match="damaged"):
        made.read(path)


def test_a_file_that_was_appended_to_another_is_not_lost_silently(made, tmp_path):
    first = made.write_mcap(tmp_path / "a.mcap", made.recording(2))
    second = made.write_mcap(tmp_path / "b.mcap", made.recording(2))
    first.write_bytes(first.read_bytes() + second.read_bytes())
    (damage,) = bag_info(first).damages
    assert f"{second.stat().st_size} bytes after the end" in damage


def test_a_file_without_its_end_gives_all_messages_and_says_so(made, tmp_path):
    messages = made.recording(20)
    path = made.write_mcap(tmp_path / "a.mcap", messages, chunk_size=1000)
    begin, length = chunk_places(path)[-1]
    path.write_bytes(path.read_bytes()[: begin + length])
    info = bag_info(path)
    assert sum(info.messages.values()) == len(messages) and "was not closed" in info.damages[0]


def test_an_id_that_names_two_topics_is_reported(made, tmp_path):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(2), repeat_channels=False, use_statistics=False)
    data = path.read_bytes()
    name = b"/other"
    extra = struct.pack("<HHI", 1, 1, len(name)) + name + struct.pack("<I", 3) + b"cdr" + struct.pack("<I", 0)
    begin, _ = chunk_places(path)[0]
    path.write_bytes(data[: begin - 9] + struct.pack("<BQ", 4, len(extra)) + extra + data[begin - 9 :])
    assert any("channel 1 is /other and /camera/image" in damage for damage in bag_info(path).damages)


@pytest.mark.parametrize("counted", [9, 2**40])
def test_messages_that_the_statistics_count_and_the_file_does_not_hold_are_reported(made, tmp_path, counted):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(3))
    data = path.read_bytes()
    place = data.rindex(struct.pack("<BQ", 11, 46 + 2 * 10)) + 9  # the statistics, of two channels
    assert struct.unpack_from("<Q", data, place) == (6,)
    path.write_bytes(data[:place] + struct.pack("<Q", counted) + data[place + 8 :])
    info = bag_info(path)
    assert sum(info.messages.values()) == 6 and not info.is_whole
    assert f"its statistics count {counted} messages; {counted - 6} of them are not there" in info.damages[0]


def test_more_messages_than_the_file_holds_by_topic_are_reported(made, tmp_path):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(3))
    data = path.read_bytes()
    place = data.rindex(struct.pack("<BQ", 11, 46 + 2 * 10)) + 9
    counts = struct.pack("<HQHQ", 1, 5, 2, 3)
    path.write_bytes(data[:place] + struct.pack("<Q", 8) + data[place + 8 : place + 46] + counts + data[place + 66 :])
    assert bag_info(path).missing == ["/camera/image: 3 of the 5 messages that the bag's own index counts were read"]


def test_statistics_that_count_nothing_hide_no_topic(made, tmp_path):
    """Some writers leave them at 0. A topic without messages would be no candidate for the camera."""
    messages = made.recording(4)
    path = made.write_mcap(tmp_path / "a.mcap", messages)
    data = bytearray(path.read_bytes())
    offset, _, length = next(record for record in records(data) if record[1] == 11)
    end = offset + 9 + length - 20  # two channels' counts of 10 bytes each are left out
    statistics = bytes(8) + data[offset + 17 : end - 4] + bytes(4)
    data[offset : offset + 9 + length] = struct.pack("<BQ", 11, len(statistics)) + statistics
    path.write_bytes(data)
    with path.open("rb") as stream:
        (judge,) = [r for r in StreamReader(stream).records if isinstance(r, Statistics)]
    assert judge.message_count == 0 and judge.channel_message_counts == {}
    with bags.BagReader(path) as bag:
        assert bag.counts == {"/camera/image": 4, "/query": 4}
    assert made.read(path) == made.expected(messages)


@pytest.mark.parametrize(("change", "is_whole"), [(3, False), (-1, True)])
def test_statistics_of_more_messages_are_reported_and_of_fewer_cost_none(made, tmp_path, capsys, change, is_whole):
    messages = made.recording(4)
    path = made.write_mcap(tmp_path / "a.mcap", messages)
    data = bytearray(path.read_bytes())
    offset, _, length = next(record for record in records(data) if record[1] == 11)
    data[offset + 9 : offset + 17] = struct.pack("<Q", 8 + change)
    end = offset + 9 + length
    data[end - 8 : end] = struct.pack("<Q", 4 + change)
    path.write_bytes(data)
    assert cli.main(["bag", "info", str(path)]) == (0 if is_whole else 1)
    out = capsys.readouterr().out
    assert "messages: 8" in out
    assert is_whole or "/query: 4 of the 7 messages that the bag's own index counts were read" in out


def test_a_wrong_checksum_of_messages_outside_of_chunks_is_reported(made, tmp_path):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(4), use_chunking=False, enable_data_crcs=True)
    assert bag_info(path).is_whole
    data = bytearray(path.read_bytes())
    offset, _, length = next(record for record in records(data) if record[1] == 5)
    data[offset + 9 + length - 1] ^= 1
    path.write_bytes(data)
    with path.open("rb") as stream, pytest.raises(CRCValidationError):
        list(StreamReader(stream, validate_crcs=True).records)
    info = bag_info(path)
    assert sum(info.messages.values()) == 8 and "checksum of the messages is wrong" in info.damages[0]


def test_a_wrong_checksum_of_a_chunk_costs_this_chunk(made, tmp_path):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(20), chunk_size=600, compression=CompressionType.NONE)
    begin, length = chunk_places(path)[3]
    data = bytearray(path.read_bytes())
    data[begin + length - 1] ^= 1
    path.write_bytes(data)
    info = bag_info(path)
    assert "the checksum of a chunk is wrong" in info.damages[0]
    assert 35 < sum(info.messages.values()) < 40 and not info.is_whole


def test_a_chunk_that_the_index_names_and_is_not_there_is_reported(made, tmp_path):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(20), chunk_size=600, use_statistics=False)
    begin, _ = chunk_places(path)[3]
    data = bytearray(path.read_bytes())
    data[begin - 9] = 0x90  # a record for the recorder's own use
    path.write_bytes(data)
    info = bag_info(path)
    assert sum(info.messages.values()) < 40
    assert f"byte {begin - 9}" in info.damages[0] and "names a chunk here" in info.damages[0]


@pytest.mark.parametrize(("kind", "is_whole"), [(0x10, False), (0x7F, False), (0x80, True), (0xFF, True)])
def test_records_of_unknown_types_are_reported_unless_they_are_a_recorders_own(made, tmp_path, kind, is_whole):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(2), index_types=IndexType.NONE)
    data = path.read_bytes()
    begin = chunk_places(path)[0][0] - 9
    path.write_bytes(data[:begin] + struct.pack("<BQ", kind, 5) + b"other" + data[begin:])
    info = bag_info(path)
    assert sum(info.messages.values()) == 4 and info.is_whole == is_whole


def test_an_id_that_names_two_types_is_reported(made, tmp_path):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(2), repeat_schemas=False, use_statistics=False)
    data = path.read_bytes()
    name = b"std_msgs/msg/String"
    extra = struct.pack("<HI", 1, len(name)) + name + struct.pack("<I", 7) + b"ros2msg" + struct.pack("<I", 0)
    begin = chunk_places(path)[0][0] - 9
    path.write_bytes(data[:begin] + struct.pack("<BQ", 3, len(extra)) + extra + data[begin:])
    assert any("schema 1 is std_msgs/msg/String and sensor_msgs" in damage for damage in bag_info(path).damages)


@pytest.mark.parametrize("seed", range(150))
def test_no_damage_loses_a_message_silently(made, tmp_path, seed):
    """Chunks have checksums: a message that comes without a report of damage is as it was written."""
    rng = random.Random(seed)
    layouts = [name for name in LAYOUTS if name not in ("no checksums", "no chunks", "no summary", "no index")]
    messages = made.recording(12)
    options = {"chunk_size": 600, **LAYOUTS[rng.choice(layouts)]}
    path = made.write_mcap(tmp_path / "a.mcap", messages, **options)
    data = bytearray(path.read_bytes())
    begin = rng.randrange(20, len(data))
    if seed % 3 == 0:
        data[begin : begin + rng.randrange(1, 300)] = b""
    elif seed % 3 == 1:
        data[begin] ^= rng.randrange(1, 256)
    else:
        end = min(begin + rng.randrange(1, 300), len(data))
        data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    try:
        read = made.read(path)
    except InvalidInput:
        return
    assert read == made.expected(messages)


@pytest.mark.parametrize("seed", range(20))
def test_no_damage_raises_anything_but_invalid_input(made, tmp_path, seed):
    rng = random.Random(seed)
    options = LAYOUTS[rng.choice(list(LAYOUTS))]
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(8), **options)
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 20)):
        data[rng.randrange(8, len(data))] = rng.randrange(256)
    path.write_bytes(data[: rng.randint(20, len(data))] if seed % 3 == 0 else data)
    with suppress(InvalidInput):
        bag_info(path)

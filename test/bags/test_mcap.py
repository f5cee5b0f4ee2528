"""MCAP files of other writers, judged by the mcap library."""

import random
import struct
import tracemalloc
from contextlib import suppress

import lz4.frame
import pytest
from mcap.reader import NonSeekingReader
from mcap.records import Statistics
from mcap.stream_reader import CRCValidationError, StreamReader
from mcap.writer import CompressionType, IndexType, Writer

from reasonseg_ros import bags, cli
from reasonseg_ros.bags import unpacking
from reasonseg_ros.bags.mcap import pieces
from reasonseg_ros.bags.unpacking import zstd
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.bag_info import bag_info
from reasonseg_ros.types import Query

CHUNK, MAGIC = 6, b"\x89MCAP0\r\n"

LAYOUTS = {
    "plain": {},
    "lz4": {"compression": CompressionType.LZ4},
    "not compressed": {"compression": CompressionType.NONE},
    "small chunks": {"chunk_size": 300},
    "no chunks": {"use_chunking": False},
    "no message index": {"index_types": IndexType.CHUNK | IndexType.ATTACHMENT | IndexType.METADATA},
    "no index": {"index_types": IndexType.NONE},
    "no statistics": {"use_statistics": False},
    "no channels in the summary": {"repeat_channels": False, "chunk_size": 300},
    "no schemas in the summary": {"repeat_schemas": False, "chunk_size": 300},
    "no summary": {
        "repeat_channels": False, "repeat_schemas": False, "use_statistics": False, "index_types": IndexType.NONE,
        "use_summary_offsets": False, "chunk_size": 300,
    },
    "no checksums": {"enable_crcs": False},
}  # fmt: skip
ORDERS = {
    "in order": list,
    "topic by topic": lambda messages: sorted(messages, key=lambda item: item[0]),
    "backwards": lambda messages: messages[::-1],
    "shuffled": lambda messages: random.Random(3).sample(messages, len(messages)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ORDERS)
def test_every_layout_gives_all_messages_in_the_order_of_time(made, tmp_path, layout, order):
    messages = ORDERS[order](made.recording(12))
    path = made.write_mcap(tmp_path / "a.mcap", messages, **LAYOUTS[layout])
    with path.open("rb") as stream:
        judge = [(channel.topic, m.log_time, m.data) for _, channel, m in NonSeekingReader(stream).iter_messages()]
    assert made.read(path) == made.expected(messages) == sorted(judge, key=lambda item: item[1])
    with bags.BagReader(path) as bag:
        assert bag.counts == {"/camera/image": 12, "/query": 12}


def test_memory_holds_few_chunks_in_whatever_order_a_file_was_written(made, tmp_path, monkeypatch):
    messages = ORDERS["shuffled"](made.recording(300))
    path = made.write_mcap(tmp_path / "a.mcap", messages, chunk_size=2000)
    monkeypatch.setattr(pieces, "CACHE_BYTES", 5000)
    assert made.read(path) == made.expected(messages)


def test_messages_of_equal_times_come_as_they_were_written(made, tmp_path):
    messages = [("/query", bags.query_message(Query(str(number))), 5) for number in range(50)]
    path = made.write_mcap(tmp_path / "a.mcap", messages, chunk_size=200)
    assert made.read(path) == [(topic, 5, made.serialised(message)) for topic, message, _ in messages]


def foreign(path, made, *, with_ros=True):
    """JSON without a schema, protobuf, ROS 1, CDR without a schema, and ROS 2."""
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="", library="test")
        channels = [
            writer.register_channel("/json", "json", 0),
            writer.register_channel(
                "/log", "protobuf", writer.register_schema("foxglove.Log", "protobuf", b"\n\x03abc")
            ),
            writer.register_channel(
                "/old", "ros1", writer.register_schema("std_msgs/String", "ros1msg", b"string data")
            ),
            writer.register_channel("/typeless", "cdr", 0),
        ]
        query = writer.register_channel("/query", "cdr", writer.register_schema("reasonseg_ros/msg/Query", "", b""))
        for number, channel in enumerate(channels):
            for stamp_ns in range(number + 1):
                writer.add_message(channel, stamp_ns, b"{}", stamp_ns)
        if with_ros:
            writer.add_message(query, 9, made.serialised(bags.query_message(Query("a mug"))), 9)
        writer.finish()
    return path


def test_channels_of_other_encodings_are_skipped_and_counted(made, tmp_path, capsys):
    path = foreign(tmp_path / "a.mcap", made)
    assert [topic for topic, _, _ in made.read(path)] == ["/query"]
    assert cli.main(["bag", "info", str(path)]) == 0
    out = capsys.readouterr().out
    for number, line in enumerate(("/json: 1", "/log: 2", "/old: 3", "/typeless: 4")):
        assert f"{line} messages skipped" in out, number
    assert "damaged parts: 0" in out


@pytest.mark.parametrize("definition", [b"", b"string query_id\nnot a definition at all", b"\xff\xfe", b"Odd/Type x"])
def test_types_without_a_usable_definition_are_this_packages(made, tmp_path, definition):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(1), definition)
    with bags.BagReader(path) as bag:
        assert [message.text for topic, _, message in bag.messages(["/query"])] == ["question 0"]


def test_topics_with_odd_types_and_names_disturb_no_other_and_are_shown_as_text(made, tmp_path, capsys):
    path = tmp_path / "a.mcap"
    kinds = ["Odd", "odd", "a/b/c/d", "\x1b[31mred", "1x/msg/../Y", "", "reasonseg_ros/Query"]
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="test")
        for number, kind in enumerate(kinds):
            channel = writer.register_channel(
                f"/t{number}\x1b[2J", "cdr", writer.register_schema(kind, "ros2msg", b"?? x")
            )
            writer.add_message(channel, number, made.serialised(bags.query_message(Query("a mug"))), number)
        writer.finish()
    with bags.BagReader(path) as bag:
        assert bag.topics["/t6\\x1b[2J"] == "reasonseg_ros/msg/Query", "packages and names alone are the same type"
        assert [m.text for _, _, m in bag.messages(["/t6\\x1b[2J"])] == ["a mug"]
    assert cli.main(["bag", "info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "messages: 6" in out and "names no message type" in out


def test_a_topic_of_two_types_is_read_as_its_first_and_the_others_are_counted(made, tmp_path):
    path = tmp_path / "a.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="test")
        for kind in ("reasonseg_ros/msg/Query", "std_msgs/msg/String"):
            channel = writer.register_channel("/query", "cdr", writer.register_schema(kind, "", b""))
            for stamp_ns in range(3):
                writer.add_message(channel, stamp_ns, made.serialised(bags.query_message(Query("a mug"))), stamp_ns)
        writer.finish()
    info = bag_info(path)
    assert info.messages == {"/query": 3} and info.is_whole
    assert "/query: 3 messages skipped, they are std_msgs/msg/String" in info.notes[0]


def chunk_places(path):
    """Offset and length of each chunk record's content."""
    data, offset, found = path.read_bytes(), 8, []
    while offset + 9 < len(data) - 8:
        kind, length = struct.unpack_from("<BQ", data, offset)
        if kind == CHUNK:
            found.append((offset + 9, length))
        offset += 9 + length
    return found


def test_what_a_damaged_chunk_costs_is_told_with_both_numbers(made, tmp_path, capsys):
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


def test_a_file_that_was_appended_to_another_is_not_lost_in_silence(made, tmp_path):
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


def test_an_id_that_names_two_topics_is_told(made, tmp_path):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(2), repeat_channels=False, use_statistics=False)
    data = path.read_bytes()
    name = b"/other"
    extra = struct.pack("<HHI", 1, 1, len(name)) + name + struct.pack("<I", 3) + b"cdr" + struct.pack("<I", 0)
    begin, _ = chunk_places(path)[0]
    path.write_bytes(data[: begin - 9] + struct.pack("<BQ", 4, len(extra)) + extra + data[begin - 9 :])
    assert any("channel 1 is /other and /camera/image" in damage for damage in bag_info(path).damages)


@pytest.mark.parametrize("counted", [9, 2**40])
def test_messages_that_the_statistics_count_and_the_file_does_not_hold_are_told(made, tmp_path, counted):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(3))
    data = path.read_bytes()
    place = data.rindex(struct.pack("<BQ", 11, 46 + 2 * 10)) + 9  # the statistics, of two channels
    assert struct.unpack_from("<Q", data, place) == (6,)
    path.write_bytes(data[:place] + struct.pack("<Q", counted) + data[place + 8 :])
    info = bag_info(path)
    assert sum(info.messages.values()) == 6 and not info.is_whole
    assert f"its statistics count {counted} messages; {counted - 6} of them are not there" in info.damages[0]


def test_more_messages_than_the_file_holds_by_topic_are_told(made, tmp_path):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(3))
    data = path.read_bytes()
    place = data.rindex(struct.pack("<BQ", 11, 46 + 2 * 10)) + 9
    counts = struct.pack("<HQHQ", 1, 5, 2, 3)
    path.write_bytes(data[:place] + struct.pack("<Q", 8) + data[place + 8 : place + 46] + counts + data[place + 66 :])
    assert bag_info(path).missing == ["/camera/image: 3 of the 5 messages that the bag's own index counts were read"]


def test_messages_of_another_serialization_are_not_read_as_plain_cdr(made, tmp_path):
    path = tmp_path / "a.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="test")
        channel = writer.register_channel("/query", "cdr", writer.register_schema("reasonseg_ros/msg/Query", "", b""))
        data = made.serialised(bags.query_message(Query("a mug")))
        writer.add_message(channel, 1, data[:1] + b"\x07" + data[2:], 1)
        writer.finish()
    with bags.BagReader(path) as bag, pytest.raises(InvalidInput, match="encapsulation 7"):
        list(bag.messages())


def with_chunk(path, compression, content, states_bytes):
    """A file with one chunk that states to unpack to that many bytes."""
    name = compression.encode()
    body = struct.pack("<QQQI", 0, 0, states_bytes, 0) + struct.pack("<I", len(name)) + name
    body += struct.pack("<Q", len(content)) + content
    header = struct.pack("<I", 4) + b"ros2" + struct.pack("<I", 0)
    records = [(1, header), (CHUNK, body), (15, bytes(4)), (2, bytes(20))]
    path.write_bytes(MAGIC + b"".join(struct.pack("<BQ", kind, len(data)) + data for kind, data in records) + MAGIC)
    return path


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("states_bytes", [3 * 2**30, 1000, 0])
def test_a_chunk_that_unpacks_to_too_much_is_refused_in_little_memory(tmp_path, monkeypatch, compression, states_bytes):
    monkeypatch.setattr(unpacking, "MOST_BYTES", 2**20)
    zeros = bytes(64 * 2**20)
    content = zstd.compress(zeros) if compression == "zstd" else lz4.frame.compress(zeros)
    del zeros
    path = with_chunk(tmp_path / "a.mcap", compression, content, states_bytes)
    tracemalloc.start()
    try:
        info = bag_info(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    assert "MB are read at once" in info.damages[0] or f"more than the {states_bytes} bytes" in info.damages[0]


@pytest.mark.parametrize("states_bytes", [3 * 2**30, 2**63])
def test_a_chunk_that_states_too_much_is_not_unpacked_at_all(tmp_path, states_bytes):
    path = with_chunk(tmp_path / "a.mcap", "zstd", b"no zstd at all", states_bytes)
    assert "at most 537 MB are read at once" in bag_info(path).damages[0]


def test_a_chunk_of_another_compression_is_named(tmp_path):
    assert "'brotli' is not supported" in bag_info(with_chunk(tmp_path / "a.mcap", "brotli", b"x", 1)).damages[0]


def test_a_message_that_unpacks_to_too_much_costs_itself_only(made, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MOST_BYTES", 2**20)
    path = tmp_path / "a.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="test")
        channel = writer.register_channel("/query", "cdr", writer.register_schema("reasonseg_ros/msg/Query", "", b""))
        sound = made.serialised(bags.query_message(Query("a mug")))
        for stamp_ns, data in enumerate((zstd.compress(sound), zstd.compress(bytes(64 * 2**20)), sound, b"junk")):
            writer.add_message(channel, stamp_ns, data, stamp_ns)
        writer.finish()
    info = bag_info(path)
    assert info.messages == {"/query": 2} and len(info.damages) == 2
    assert "not CDR" in info.damages[1] and "2 of the 4 messages" in info.missing[0]


IDL = """================================================================================
IDL: reasonseg_ros/msg/Query
module reasonseg_ros { module msg {
  struct Query {
    string text;
    sequence<reasonseg_ros::msg::Part> parts;
    builtin_interfaces::msg::Time stamp;
  };
}; };
================================================================================
IDL: reasonseg_ros/msg/Part
module reasonseg_ros { module msg { struct Part { uint8 number; }; }; };
================================================================================
IDL: builtin_interfaces/msg/Time
module builtin_interfaces { module msg { struct Time { int32 sec; uint32 nanosec; }; }; };
"""


def test_a_type_that_the_bag_defines_in_idl_is_read_by_that_definition(tmp_path):
    """Not by this package's definition of the same name."""
    text = b"a mug"
    cdr = b"\0\1\0\0" + struct.pack("<I", len(text) + 1) + text + b"\0\0\0" + struct.pack("<I", 2) + b"\x08\x09"
    cdr += b"\0\0" + struct.pack("<iI", 12, 34)
    path = tmp_path / "a.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="test")
        schema = writer.register_schema("reasonseg_ros/msg/Query", "ros2idl", IDL.encode())
        writer.add_message(writer.register_channel("/query", "cdr", schema), 5, cdr, 5)
        writer.finish()
    with bags.BagReader(path) as bag:
        ((_, _, message),) = bag.messages()
    assert message.text == "a mug" and [part.number for part in message.parts] == [8, 9]
    assert (message.stamp.sec, message.stamp.nanosec) == (12, 34)


def records(data):
    """Offset of each record's head, its type and the length of its content."""
    offset = len(MAGIC)
    while offset + 9 <= len(data) - len(MAGIC):
        kind, length = struct.unpack_from("<BQ", data, offset)
        yield offset, kind, length
        offset += 9 + length


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
def test_statistics_of_more_messages_are_told_and_of_fewer_cost_none(made, tmp_path, capsys, change, is_whole):
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


def test_a_wrong_checksum_of_messages_outside_of_chunks_is_told(made, tmp_path):
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


def test_a_chunk_that_the_index_names_and_is_not_there_is_told(made, tmp_path):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(20), chunk_size=600, use_statistics=False)
    begin, _ = chunk_places(path)[3]
    data = bytearray(path.read_bytes())
    data[begin - 9] = 0x90  # a record for the recorder's own use
    path.write_bytes(data)
    info = bag_info(path)
    assert sum(info.messages.values()) < 40
    assert f"byte {begin - 9}" in info.damages[0] and "names a chunk here" in info.damages[0]


@pytest.mark.parametrize(("kind", "is_whole"), [(0x10, False), (0x7F, False), (0x80, True), (0xFF, True)])
def test_records_of_unknown_types_are_told_unless_they_are_a_recorders_own(made, tmp_path, kind, is_whole):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(2), index_types=IndexType.NONE)
    data = path.read_bytes()
    begin = chunk_places(path)[0][0] - 9
    path.write_bytes(data[:begin] + struct.pack("<BQ", kind, 5) + b"other" + data[begin:])
    info = bag_info(path)
    assert sum(info.messages.values()) == 4 and info.is_whole == is_whole


def test_an_id_that_names_two_types_is_told(made, tmp_path):
    path = made.write_mcap(tmp_path / "a.mcap", made.recording(2), repeat_schemas=False, use_statistics=False)
    data = path.read_bytes()
    name = b"std_msgs/msg/String"
    extra = struct.pack("<HI", 1, len(name)) + name + struct.pack("<I", 7) + b"ros2msg" + struct.pack("<I", 0)
    begin = chunk_places(path)[0][0] - 9
    path.write_bytes(data[:begin] + struct.pack("<BQ", 3, len(extra)) + extra + data[begin:])
    assert any("schema 1 is std_msgs/msg/String and sensor_msgs" in damage for damage in bag_info(path).damages)


@pytest.mark.parametrize("seed", range(150))
def test_no_damage_loses_a_message_in_silence(made, tmp_path, seed):
    """Chunks have checksums; what a damaged file still gives without a word is what was written."""
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


def test_a_file_written_topic_by_topic_is_read_in_the_memory_of_a_few_chunks(tmp_path):
    content = b"\0\1\0\0" + random.Random(0).randbytes(250_000)
    path = tmp_path / "a.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=2**20, compression=CompressionType.LZ4)
        writer.start(profile="ros2", library="test")
        schema = writer.register_schema("std_msgs/msg/String", "", b"")
        for topic in range(4):
            channel = writer.register_channel(f"/t{topic}", "cdr", schema)
            for stamp_ns in range(60):
                writer.add_message(channel, stamp_ns, content, stamp_ns)
        writer.finish()
    assert path.stat().st_size > 56 * 2**20
    tracemalloc.start()
    try:
        with bags.BagReader(path) as bag:
            found = [(stamp_ns, topic) for topic, stamp_ns, _ in bag.raw()]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == sorted(found) and len(found) == 240
    assert peak < 16 * 2**20

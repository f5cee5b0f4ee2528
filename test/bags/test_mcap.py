"""MCAP files of other writers, judged by the mcap library."""

import random
import struct
import tracemalloc

import lz4.frame
import pytest
from mcap.reader import NonSeekingReader
from mcap.writer import CompressionType, Writer

from reasonseg_ros import bags, cli
from reasonseg_ros.bags import unpacking
from reasonseg_ros.bags.mcap import pieces
from reasonseg_ros.bags.unpacking import zstd
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.bag_info import bag_info
from reasonseg_ros.types import Query
from test.bags.mcap_files import CHUNK, LAYOUTS, MAGIC

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

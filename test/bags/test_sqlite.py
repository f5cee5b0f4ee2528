"""Databases of rosbag2, made with SQL, judged by rosbags."""

import os
import random
import shutil
import sqlite3
import sys

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import Reader

from reasonseg_ros import bags, cli
from reasonseg_ros.bags import unpacking
from reasonseg_ros.bags.unpacking import zstd
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.bag_info import bag_info
from reasonseg_ros.types import Query


def left_by_a_killed_recorder(made, folder, journal="wal"):
    """Files of a database whose last messages are in the write-ahead log only."""
    folder.mkdir()
    messages = made.recording(6)
    database = made.write_sqlite(folder / "live.db3", messages[:4], journal)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("PRAGMA wal_autocheckpoint=0")
    for topic, message, stamp_ns in messages[4:]:
        number = 1 if topic == "/camera/image" else 2
        values = (number, stamp_ns, made.serialised(message))
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", values)
        if journal == "wal":
            database.commit()
    for end in ("", "-wal", "-journal"):
        if (folder / f"live.db3{end}").exists():
            shutil.copy(folder / f"live.db3{end}", folder / f"bag_0.db3{end}")
    database.rollback()
    database.close()
    for path in folder.glob("live.db3*"):
        path.unlink()
    return messages


def test_a_write_ahead_log_is_read_and_the_bag_is_left_as_it_was(made, tmp_path):
    messages = left_by_a_killed_recorder(made, tmp_path / "bag")
    before = {path.name: path.read_bytes() for path in (tmp_path / "bag").iterdir()}
    assert set(before) == {"bag_0.db3", "bag_0.db3-wal"}
    assert made.read(tmp_path / "bag") == made.expected(messages)
    assert made.read(tmp_path / "bag" / "bag_0.db3") == made.expected(messages)
    assert {path.name: path.read_bytes() for path in (tmp_path / "bag").iterdir()} == before
    with bags.BagReader(tmp_path / "bag") as bag:
        assert bag.counts == {"/camera/image": 6, "/query": 6}


def test_a_write_ahead_log_that_cannot_be_read_in_place_is_read_from_a_copy(made, tmp_path):
    messages = left_by_a_killed_recorder(made, tmp_path / "bag")
    (tmp_path / "bag" / "bag_0.db3-shm").mkdir()  # as a folder that cannot be written
    assert made.read(tmp_path / "bag") == made.expected(messages)


def test_an_unfinished_transaction_is_rolled_back_in_a_copy(made, tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    messages = made.recording(40)
    database = made.write_sqlite(folder / "live.db3", messages)
    database.execute("PRAGMA cache_size=1")  # so that it is written before its end
    database.execute("UPDATE messages SET data = zeroblob(3000)")
    for end in ("", "-journal"):
        shutil.copy(folder / f"live.db3{end}", folder / f"bag_0.db3{end}")
    database.rollback()
    database.close()
    (folder / "live.db3").unlink()
    before = (folder / "bag_0.db3").read_bytes()
    assert made.read(folder) == made.expected(messages)
    assert (folder / "bag_0.db3").read_bytes() == before


def test_a_closed_database_in_wal_mode_is_read_without_a_trace(made, tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    messages = made.recording(2)
    made.write_sqlite(folder / "bag_0.db3", messages, "wal").close()
    os.chmod(folder, 0o555)
    try:
        assert made.read(folder) == made.expected(messages)
    finally:
        os.chmod(folder, 0o755)
    assert [path.name for path in folder.iterdir()] == ["bag_0.db3"]


def test_metadata_whose_quality_of_service_differs_from_the_database_costs_nothing(made, tmp_path):
    messages = made.recording(3)
    bag = made.write_rosbag(tmp_path / "bag", messages, "sqlite3")
    described = yaml.safe_load((bag / "metadata.yaml").read_text())
    for topic in described["rosbag2_bagfile_information"]["topics_with_message_count"]:
        topic["topic_metadata"]["offered_qos_profiles"] = "- history: 3\n  depth: 0\n  durability: 1"
        topic["topic_metadata"]["type_description_hash"] = "another"
    (bag / "metadata.yaml").write_text(yaml.safe_dump(described))
    assert made.read(bag) == made.expected(messages)


@pytest.mark.parametrize("compression", ["", "FILE", "MESSAGE"])
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_what_rosbags_writes_is_read_as_rosbags_reads_it(made, tmp_path, storage, compression):
    messages = made.recording(5)
    bag = made.write_rosbag(tmp_path / "bag", messages[::-1], storage, compression)
    with Reader(bag) as judge:
        known = sorted(((c.topic, stamp, bytes(data)) for c, stamp, data in judge.messages()), key=lambda m: m[1])
    assert made.read(bag) == made.expected(messages) == known
    (bag / "metadata.yaml").unlink()
    assert made.read(bag) == known
    (file,) = bag.iterdir()
    assert made.read(file) == known


def schema_of(version):
    """Tables of each schema version of rosbag2's databases."""
    more = {1: "", 2: ", offered_qos_profiles TEXT", 3: ", offered_qos_profiles TEXT"}
    columns = more.get(version, ", offered_qos_profiles TEXT, type_description_hash TEXT")
    tables = [f"CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT{columns})"]
    tables += ["CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)"]
    if version >= 3:
        tables += ["CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL)"]
        tables += [f"INSERT INTO schema VALUES({version}, 'humble')"]
    if version >= 4:
        tables += [
            "CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT, encoding TEXT, "
            "encoded_message_definition TEXT, type_description_hash TEXT)"
        ]
    return ";".join(tables)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_every_version_of_the_tables_is_read(made, tmp_path, version):
    database = sqlite3.connect(tmp_path / "bag.db3")
    database.executescript(schema_of(version))
    query = bags.query_message(Query("a mug"))
    database.execute(
        "INSERT INTO topics(id, name, type, serialization_format) VALUES(7, '/query', 'reasonseg_ros/msg/Query', 'cdr')"
    )
    database.execute("INSERT INTO messages VALUES(1, 7, 5, ?)", (made.serialised(query),))
    database.commit()
    database.close()
    assert made.read(tmp_path / "bag.db3") == [("/query", 5, made.serialised(query))]


ODD_ROWS = {
    "time as text": ("topic_id, timestamp, data", (1, "soon", b"\0\1\0\0")),
    "time as a fraction": ("topic_id, timestamp, data", (1, 1.5, b"\0\1\0\0")),
    "no time": ("topic_id, timestamp, data", (1, None, b"\0\1\0\0")),
    "data as text": ("topic_id, timestamp, data", (1, 7, "text")),
    "data as a number": ("topic_id, timestamp, data", (1, 7, 7)),
    "no data": ("topic_id, timestamp, data", (1, 7, None)),
    "unknown topic": ("topic_id, timestamp, data", (99, 7, b"\0\1\0\0")),
    "no topic": ("topic_id, timestamp, data", (None, 7, b"\0\1\0\0")),
    "topic as text": ("topic_id, timestamp, data", ("x", 7, b"\0\1\0\0")),
}


@pytest.mark.parametrize("case", ODD_ROWS)
def test_a_row_of_other_types_costs_itself_only_and_is_reported(made, tmp_path, capsys, case):
    messages = made.recording(3)
    database = made.write_sqlite(tmp_path / "bag.db3", messages)
    columns, values = ODD_ROWS[case]
    database.execute(f"INSERT INTO messages({columns}) VALUES(?, ?, ?)", values)
    database.commit()
    database.close()
    info = bag_info(tmp_path / "bag.db3")
    assert sum(info.messages.values()) == len(messages)
    assert len(info.damages) == 1 and "row 7" in info.damages[0]
    assert cli.main(["bag", "info", str(tmp_path / "bag.db3")]) == 1
    with pytest.raises(InvalidInput, match="row 7"):
        made.read(tmp_path / "bag.db3")


def test_many_damaged_rows_are_counted_after_the_first(made, tmp_path):
    database = made.write_sqlite(tmp_path / "bag.db3", made.recording(3))
    database.executemany(
        "INSERT INTO messages(topic_id, timestamp, data) VALUES(1, ?, 'text')", [(n,) for n in range(500)]
    )
    database.commit()
    database.close()
    info = bag_info(tmp_path / "bag.db3")
    assert sum(info.messages.values()) == 6
    assert len(info.damages) == 21 and "480 more" in info.damages[-1]
    assert "/camera/image: 3 of the 503 messages" in info.missing[0]


def test_odd_rows_of_topics_disturb_no_other(made, tmp_path):
    messages = made.recording(3)
    database = made.write_sqlite(tmp_path / "bag.db3", messages)
    database.execute("INSERT INTO topics VALUES(8, x'ff00', x'00', 'cdr', '')")
    database.execute("INSERT INTO topics VALUES(9, '/log', 'foxglove/Log', 'json', '')")
    database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(8, 1, x'00010000'), (9, 1, x'7b7d')")
    database.commit()
    database.close()
    assert made.read(tmp_path / "bag.db3") == made.expected(messages)
    info = bag_info(tmp_path / "bag.db3")
    assert info.is_whole and sum("1 messages skipped" in note for note in info.notes) == 2


@pytest.mark.parametrize("order", ["backwards", "shuffled", "topic by topic"])
@pytest.mark.parametrize("index", ["", "CREATE INDEX timestamp_idx ON messages(timestamp ASC)"])
def test_messages_come_by_time_in_whatever_order_the_rows_are(made, tmp_path, order, index):
    messages = made.recording(20)
    orders = {
        "backwards": messages[::-1],
        "shuffled": random.Random(1).sample(messages, len(messages)),
        "topic by topic": sorted(messages, key=lambda item: item[0]),
    }
    database = made.write_sqlite(tmp_path / "bag.db3", orders[order])
    database.execute(index)
    database.commit()
    database.close()
    assert made.read(tmp_path / "bag.db3") == made.expected(messages)
    with bags.BagReader(tmp_path / "bag.db3") as bag:
        assert [stamp for _, stamp, _ in bag.raw(["/query"])] == [m[2] for m in messages if m[0] == "/query"]


def test_rows_are_found_without_a_primary_key(made, tmp_path):
    messages = made.recording(4)
    database = made.write_sqlite(tmp_path / "bag.db3", messages[::-1])
    database.execute("CREATE TABLE copied(id, topic_id, timestamp, data)")
    database.execute("INSERT INTO copied SELECT NULL, topic_id, timestamp, data FROM messages")
    database.execute("DROP TABLE messages")
    database.execute("ALTER TABLE copied RENAME TO messages")
    database.commit()
    database.close()
    assert made.read(tmp_path / "bag.db3") == made.expected(messages)


def test_a_topic_that_is_listed_twice_is_one(made, tmp_path):
    """A recorder lists a topic for each quality of service that its publishers offer."""
    messages = made.recording(3)
    database = made.write_sqlite(tmp_path / "bag.db3", messages)
    database.execute("INSERT INTO topics SELECT 9, name, type, serialization_format, '- depth: 9' FROM topics LIMIT 1")
    extra = ("/camera/image", messages[0][1], 99)
    database.execute(
        "INSERT INTO messages(topic_id, timestamp, data) VALUES(9, 99, ?)", (made.serialised(messages[0][1]),)
    )
    database.commit()
    database.close()
    assert made.read(tmp_path / "bag.db3") == made.expected([*messages, extra])
    with bags.BagReader(tmp_path / "bag.db3") as bag:
        assert bag.counts["/camera/image"] == 4 and bag.offered_qos("/camera/image") == ["- depth: 9"]


def pages(data):
    size = int.from_bytes(data[16:18], "big")
    return [(start, start + size) for start in range(size, len(data), size)]


@pytest.mark.parametrize("index", ["", "CREATE INDEX timestamp_idx ON messages(timestamp ASC)"])
def test_messages_on_both_sides_of_a_damaged_page_are_read(made, tmp_path, index):
    messages = made.recording(200)
    database = made.write_sqlite(tmp_path / "bag.db3", messages)
    database.execute(index)
    database.commit()
    database.close()
    data = (tmp_path / "bag.db3").read_bytes()
    expected, known = made.expected(messages), []
    for begin, end in pages(data)[2:]:
        damaged = bytearray(data)
        damaged[begin:end] = bytes(end - begin)
        (tmp_path / "damaged.db3").write_bytes(damaged)
        with bags.BagReader(tmp_path / "damaged.db3") as bag:
            items = list(bag.records())
        read = [(i.topic.name, i.stamp_ns, i.data) for i in items if isinstance(i, bags.Record)]
        places = [item.place for item in items if isinstance(item, bags.Damage)]
        assert [item for item in expected if item in read] == read
        assert (read == expected) == (not places)
        known.append((len(read), places))
    lost = [count for count, _ in known if count < len(messages)]
    assert len(lost) > 3 and min(lost) > len(messages) // 2, known
    assert any(places and places[0].startswith("rows ") for _, places in known)
    assert index == "" or len(lost) < len(known), "a damaged index costs nothing"


def test_a_message_of_a_damaged_row_is_reported_by_its_row(made, tmp_path):
    """A long message continues on overflow pages, which the search for messages does not visit."""
    messages = made.recording(3)
    big = ("/camera/image", bags.image_message(np.full((60, 80, 3), 7, np.uint8), 5, "camera"), 5)
    made.write_sqlite(tmp_path / "bag.db3", [*messages, big]).close()
    data = bytearray((tmp_path / "bag.db3").read_bytes())
    begin = next(begin for begin, end in pages(data) if data[begin + 4 : end] == bytes([7]) * (end - begin - 4))
    data[begin : begin + 4] = b"\xff" * 4  # the number of the next page
    (tmp_path / "bag.db3").write_bytes(data)
    info = bag_info(tmp_path / "bag.db3")
    assert sum(info.messages.values()) == 6
    assert "row 7" in info.damages[0] and "1 messages are lost" in info.damages[0]
    assert "/camera/image: 3 of the 4 messages that the bag's own index counts" in info.missing[0]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot limit what sqlite3 computes")
def test_a_computed_column_cannot_fill_memory(made, tmp_path):
    database = sqlite3.connect(tmp_path / "bag.db3")
    database.executescript(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT);"
        "INSERT INTO topics VALUES(1, '/query', 'reasonseg_ros/msg/Query', 'cdr');"
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data AS (zeroblob(700000000)));"
        "INSERT INTO messages(topic_id, timestamp) VALUES(1, 1), (1, 2);"
    )
    database.close()
    info = bag_info(tmp_path / "bag.db3")
    assert "2 messages are lost" in info.damages[0] and "too big" in info.damages[0]


def test_a_damaged_database_is_reported_with_both_numbers(made, tmp_path):
    bag = made.write_rosbag(tmp_path / "bag", made.recording(400), "sqlite3")
    file = next(bag.glob("*.db3"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20000] = bytes(20000)
    file.write_bytes(data)
    info = bag_info(bag)
    assert info.damages and not info.is_whole
    assert any("of the 400 messages that metadata.yaml counts" in line for line in info.missing)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE TABLE other(id)", "no table messages and topics"),
        (
            "CREATE TABLE topics(id, name, type, serialization_format); CREATE VIEW messages AS SELECT 1",
            "no table messages",
        ),
    ],
)
def test_a_database_that_is_no_bag_is_refused(tmp_path, sql, reason):
    database = sqlite3.connect(tmp_path / "bag.db3")
    database.executescript(sql)
    database.close()
    with pytest.raises(InvalidInput, match=reason):
        bag_info(tmp_path / "bag.db3")


def test_a_message_that_unpacks_to_too_much_costs_itself_only(made, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MOST_BYTES", 2**20)
    database = made.write_sqlite(tmp_path / "bag.db3", made.recording(2))
    bomb = zstd.compress(bytes(8 * 2**20))
    database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(1, 5, ?)", (bomb,))
    database.commit()
    database.close()
    info = bag_info(tmp_path / "bag.db3")
    assert sum(info.messages.values()) == 4 and "read at once" in info.damages[0]

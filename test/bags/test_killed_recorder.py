"""Recorders that end by SIGKILL, in separate processes: their files are read and not changed."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from mcap.reader import NonSeekingReader

from reasonseg_ros import bags, cli

FOLDER = Path(__file__).parent
MESSAGES = 40

SQLITE = """
import sys, time
from pathlib import Path
from conftest import recording, serialised, write_sqlite
path, journal = Path(sys.argv[1]), sys.argv[2]
database = write_sqlite(path, recording(1), journal)
database.execute("PRAGMA wal_autocheckpoint=0")
for number, (topic, message, stamp_ns) in enumerate(recording(20)[2:]):
    values = (1 if topic == "/camera/image" else 2, stamp_ns, serialised(message))
    database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", values)
    database.commit()
if journal == "delete":  # a transaction that is not finished, but has reached the disk
    database.execute("PRAGMA cache_size=1")
    database.execute("UPDATE messages SET data = zeroblob(5000)")
print("written", flush=True)
time.sleep(60)
"""
MCAP = """
import sys, time
from mcap.writer import Writer
from reasonseg_ros import bags
from conftest import recording, serialised
with open(sys.argv[1], "wb") as stream:
    writer = Writer(stream, chunk_size=600)
    writer.start(profile="ros2", library="test")
    channels = {}
    for topic, message, stamp_ns in recording(200):
        if topic not in channels:
            schema = writer.register_schema(message.__msgtype__, "ros2msg", b"")
            channels[topic] = writer.register_channel(topic, "cdr", schema)
        writer.add_message(channels[topic], stamp_ns, serialised(message), stamp_ns)
    print("written", flush=True)
    time.sleep(60)
"""


def killed(script, *arguments):
    """Run it until it has written, and kill it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER), str(FOLDER.parents[1])])}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "written\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_all_messages_of_a_killed_database_are_read_and_nothing_in_the_folder_changes(made, tmp_path, capsys, journal):
    folder = tmp_path / "bag"
    folder.mkdir()
    killed(SQLITE, folder / "bag_0.db3", journal)
    (folder / "bag_0.db3-shm").unlink(missing_ok=True)  # does not survive a restart of the machine
    before = contents(folder)
    assert set(before) == {"bag_0.db3", "bag_0.db3-wal" if journal == "wal" else "bag_0.db3-journal"}
    assert made.read(folder) == made.expected(made.recording(20))
    assert contents(folder) == before
    assert cli.main(["bag", "info", str(folder)]) == 0
    assert f"messages: {MESSAGES}" in capsys.readouterr().out


def test_a_shared_memory_file_of_the_killed_recorder_stays(made, tmp_path):
    killed(SQLITE, tmp_path / "bag_0.db3", "wal")
    assert (tmp_path / "bag_0.db3-shm").exists()
    assert made.read(tmp_path) == made.expected(made.recording(20))
    assert {path.name for path in tmp_path.iterdir()} == {"bag_0.db3", "bag_0.db3-shm", "bag_0.db3-wal"}


def test_a_link_to_the_file_leads_to_its_write_ahead_log(made, tmp_path):
    (tmp_path / "disk").mkdir()
    killed(SQLITE, tmp_path / "disk" / "bag_0.db3", "wal")
    (tmp_path / "bag_0.db3").symlink_to(tmp_path / "disk" / "bag_0.db3")
    assert made.read(tmp_path / "bag_0.db3") == made.expected(made.recording(20))


@pytest.fixture
def open_folder():
    """A folder that every user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="changes to a user that may not write")
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_killed_database_is_read_by_a_user_who_may_not_write_there(made, open_folder, journal):
    folder = open_folder / "bag"
    folder.mkdir()
    killed(SQLITE, folder / "bag_0.db3", journal)
    (folder / "bag_0.db3-shm").unlink(missing_ok=True)
    before = contents(folder)
    (open_folder / "copies").mkdir()
    os.chmod(open_folder / "copies", 0o777)
    for path in (folder, *folder.iterdir()):
        os.chmod(path, 0o555 if path.is_dir() else 0o444)
    nobody = 65534
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(nobody, nobody, nobody)
            tempfile.tempdir = str(open_folder / "copies")
            with bags.BagReader(folder) as bag:
                os.write(writing, str(len(list(bag.raw()))).encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert os.read(reading, 10000).decode() == str(MESSAGES)
    os.close(reading)
    assert contents(folder) == before and list((open_folder / "copies").iterdir()) == []


def test_a_log_of_another_database_adds_nothing(made, tmp_path):
    """Its frames have other salts, or are incomplete, so the database is read without it."""
    made.write_sqlite(tmp_path / "bag_0.db3", made.recording(2), "wal").close()
    killed(SQLITE, tmp_path / "other.db3", "wal")
    log = (tmp_path / "other.db3-wal").read_bytes()
    for path in tmp_path.glob("other*"):
        path.unlink()
    (tmp_path / "bag_0.db3-wal").write_bytes(log[:100])
    assert made.read(tmp_path) == made.expected(made.recording(2))


def test_what_a_killed_mcap_recorder_wrote_is_read_and_its_end_is_reported(made, tmp_path, capsys):
    path = tmp_path / "bag_0.mcap"
    killed(MCAP, path)
    judge = []
    with path.open("rb") as stream, suppress(Exception):  # the library raises where the file ends
        for _, channel, message in NonSeekingReader(stream).iter_messages(log_time_order=False):
            judge.append((channel.topic, message.log_time, message.data))
    with bags.BagReader(path) as bag:
        read = [(r.topic.name, r.stamp_ns, r.data) for r in bag.records() if isinstance(r, bags.Record)]
    assert read == judge == made.expected(made.recording(200))[: len(judge)]
    assert 100 < len(judge) < 400
    assert cli.main(["bag", "info", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"messages: {len(judge)}\n" in out and "was not closed" in out

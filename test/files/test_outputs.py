"""What a command writes to is checked before any work; what ends a command is one line and an exit status."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reasonseg_ros import cli
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.faults import add_remedy, error_line, naming

# Every verb that writes, with its option last. What they read does not exist, so the output must be looked at first.
VERBS = {
    "ask": ["ask", "no.png", "what?", "--out"],
    "demo": ["demo", "--bag", "none", "--out"],
    "evaluate": ["evaluate", "none", "--out"],
    "score": ["score", "--predictions", "none", "--targets", "none", "--each"],
    "compare": ["compare", "none", "none", "--report"],
    "from-reasonseg": ["bag", "from-reasonseg", "none", "--out"],
    "from-video": ["bag", "from-video", "none", "--out"],
    "tabletop bag": ["tabletop", "bag", "--seed", "1", "--scenes", "1", "--out"],
    "tabletop show": ["tabletop", "show", "--seed", "1", "--scenes", "1", "--out"],
    "export": ["export", "segmenter", "--model", "none", "--out"],
    "train scenes": ["train", "scenes", "--seeds", "1", "1", "--out"],
    "train videos": ["train", "videos", "--seeds", "1", "1", "--out"],
    "train reasoner": ["train", "reasoner", "--scenes", "none", "--out"],
    "train segmenter": ["train", "segmenter", "export", "--run", "none", "--out"],
}
ENDINGS = {"ask": ".png", "compare": ".html", "tabletop show": ".png"}


def ends_in_one_line(arguments, capsys, *words):
    assert cli.main(arguments) == cli.USAGE_ERROR
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("reasonseg: ")
    assert all(word in lines[0] for word in words), lines[0]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("place", ["under a file", "a name too long", "read-only"])
def test_a_place_that_cannot_be_written_is_reported_first(verb, place, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    name = f"out{ENDINGS.get(verb, '')}"
    if place == "read-only":

        def refuse(**_):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # whoever runs the tests may be allowed to write anywhere
    path = {"under a file": tmp_path / "file" / name, "a name too long": tmp_path / ("a" * 300 + name)}
    out = path.get(place, tmp_path / "new" / name)
    ends_in_one_line([*VERBS[verb], str(out)], capsys, VERBS[verb][-1], "choose")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"], "nothing is left behind"


@pytest.mark.parametrize("verb", ENDINGS)
def test_an_ending_that_is_not_known_is_reported_first(verb, tmp_path, capsys):
    ends_in_one_line([*VERBS[verb], str(tmp_path / "out.gif")], capsys, "'.gif'", ENDINGS[verb])


def test_a_bag_that_exists_is_reported_before_the_data_are_read(tmp_path, capsys):
    ends_in_one_line([*VERBS["from-video"], str(tmp_path)], capsys, "exists", "--force")


class Lost(InvalidInput):
    pass


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Lost("the value 3\nis wrong"), cli.USAGE_ERROR, ["the value 3 is wrong"]),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x"), cli.USAGE_ERROR, ["/data/x", "free space"]),
        (PermissionError(errno.EACCES, "Permission denied", b"/data/y"), cli.USAGE_ERROR, ["/data/y", "permissions"]),
        (OSError("9 requested and 3 written"), cli.USAGE_ERROR, ["9 requested and 3 written; check"]),  # of numpy
        (MemoryError(), cli.USAGE_ERROR, ["out of memory"]),
        (RuntimeError("a \x1b[31mred"), cli.PROGRAM_FAULT, ["RuntimeError: a \\x1b[31mred", "reasonseg-", ".log"]),
        (KeyError("k" * 5000), cli.PROGRAM_FAULT, ["KeyError", "..."]),
    ],
)
def test_every_error_ends_in_one_line(error, status, words, monkeypatch, capsys, tmp_path):
    def fail():
        raise error

    monkeypatch.setattr("reasonseg_ros.versions.versions", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(["version"]) == status
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and len(lines[0]) < 1100 and all(word in lines[0] for word in words), lines
    logs = list(tmp_path.glob("reasonseg-*.log"))
    assert len(logs) == (status == cli.PROGRAM_FAULT)
    assert all("Traceback" in log.read_text() and "in fail" in log.read_text() for log in logs)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_a_redirection_is_reported(unbuffered):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "reasonseg_ros.cli", "version"]
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert ended.returncode == cli.USAGE_ERROR
    assert ended.stderr.strip() == "reasonseg: No space left on device; free space there, or choose another place"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone_is_no_error_message(unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "reasonseg_ros.cli", "version"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_an_error_keeps_its_path_and_remedy():
    with pytest.raises(OSError, match="No space") as caught, naming(Path("/a/b")):
        raise OSError(errno.ENOSPC, "No space left on device")
    add_remedy(caught.value, "add --resume")
    assert error_line(caught.value) == (
        "/a/b: No space left on device; free space there, or choose another place; add --resume"
    )


LIMITED = {  # what is written is larger than a file may be
    "tabletop bag": (["tabletop", "bag", "--seed", "20000000", "--scenes", "1", "--no-depth", "--out"], "out"),
    "tabletop show": (["tabletop", "show", "--seed", "1", "--scenes", "1", "--out"], "out.png"),
    "train scenes": (["train", "scenes", "--seeds", "1", "1", "--out"], "out"),
}


@pytest.mark.parametrize("verb", LIMITED)
def test_a_file_that_the_system_refuses_is_one_line_and_leaves_no_half_of_it(verb, tmp_path):
    arguments, name = LIMITED[verb]
    limit = (
        # Python keeps bytecode that is cut off by the limit, and would read it the next time.
        "import resource, signal, sys; sys.dont_write_bytecode = True; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048));"
        "from reasonseg_ros import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    out = tmp_path / "there" / name
    command = [sys.executable, "-c", limit, *arguments, str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("reasonseg: ")]
    assert ended.returncode == cli.USAGE_ERROR and "Traceback" not in ended.stderr
    assert (len(lines) == 1 and "choose another place" in lines[0]) or "requested" in lines[0], ended.stderr
    assert not out.is_file() and not list(tmp_path.rglob("metadata.yaml"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask", "photo.png", "what?", "--out", "photo.png"], "which that would overwrite"),
        (["ask", "photo.png", "what?", "--out", "./link.png"], "which that would overwrite"),
        (["segment-everything", "photo.png", "--out", "photo.png"], "which that would overwrite"),
        (["evaluate", "bag", "--out", "bag"], "which that would overwrite"),
        (["evaluate", "other", "bag", "--out", "bag/new/run"], "it is in the bag bag"),
        (["bag", "merge", "bag", "other", "bag", "--force"], "which that would overwrite"),
        (["bag", "merge", "bag/merged", "bag"], "it is in the bag bag"),
        (["bag", "from-reasonseg", "set", "--split", "val", "--out", "set", "--force"], "which that would overwrite"),
        (["demo", "--bag", "bag", "--out", "bag"], "which that would overwrite"),
        (["train", "data", "bag", "--out", "bag"], "which that would overwrite"),
        (["train", "data", "bag", "--out", "bag/rows"], "it is in the bag bag"),
    ],
)
def test_an_output_that_would_destroy_an_input_is_refused(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bag", "other", "set"):
        Path(name).mkdir()
    for name in ("bag/metadata.yaml", "photo.png", "bag/bag.mcap"):
        Path(name).write_text("kept")
    Path("link.png").symlink_to("photo.png")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    ends_in_one_line(arguments, capsys, "cannot be written", said)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["ask", "photo.png", "what?", "--segmenter", ""], "--segmenter"),
        (["ask", "photo.png", "what?", "--model="], "--model"),
        (["evaluate", "bag", "--out", ""], "--out"),
        (["evaluate", "bag", "--out", "run", "--kinds", ""], "--kinds"),
        (["train", "segmenter", "export", "--run", "", "--out", "x"], "--run"),
    ],
)
def test_an_empty_value_does_not_silently_mean_the_default(arguments, option, capsys):
    ends_in_one_line(arguments, capsys, f"{option} is given an empty value", "leave it out")

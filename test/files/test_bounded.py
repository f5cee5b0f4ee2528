"""What is read as a whole has a limit, because a device or a pipe may never end."""

import io
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from reasonseg_ros import cli
from reasonseg_ros.files import bounded
from reasonseg_ros.files.bounded import read_data, read_standard_input, read_text

ROOT = Path(__file__).parents[2]


def test_a_file_up_to_the_limit_is_read_and_a_longer_one_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    assert read_data(path, 1000) == b"x" * 1000
    with pytest.raises(OSError, match="File too large, over 0 MB"):
        read_data(path, 999)
    with pytest.raises(FileNotFoundError):
        read_data(tmp_path / "none")


def test_the_limit_reserves_no_memory(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * 2**20))
    tracemalloc.start()
    try:
        assert read_data(path) == path.read_bytes()
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_text_has_the_lines_that_python_reads(tmp_path):
    path = tmp_path / "file"
    path.write_bytes("a\r\nb\rc\né".encode())
    assert read_text(path) == path.read_text(encoding="utf-8") == "a\nb\nc\né"
    path.write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        read_text(path)


def test_standard_input_has_a_limit_too(monkeypatch):
    monkeypatch.setattr(bounded, "MOST_TEXT_BYTES", 3)
    for text, is_read in (("abc", True), ("abcd", False)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        if is_read:
            assert read_standard_input() == b"abc"
        else:
            with pytest.raises(OSError, match="File too large"):
                read_standard_input()


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "/dev/zero", "the mug"],
        ["segment-everything", "/dev/zero"],
        ["check-server", "--params", "/dev/zero", "--local"],
        ["score", "--predictions", "/dev/zero.json", "--targets", "/dev/zero.json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_file_that_does_not_end_is_one_line(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bounded, "MOST_TEXT_BYTES", 1 << 20)
    monkeypatch.setattr(bounded.read_data, "__defaults__", (1 << 20,))
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    named = [one.replace("/dev/zero.json", str(tmp_path / "zero.json")) for one in arguments]
    assert cli.main(named) == cli.USAGE_ERROR
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "File too large" in lines[0]


def test_a_text_on_stdin_that_does_not_end_is_one_line():
    code = "import sys; from reasonseg_ros.files import bounded; bounded.MOST_TEXT_BYTES = 1 << 16; "
    code += "from reasonseg_ros import cli; sys.exit(cli.main(['parse', '--size', '10x10']))"
    with open("/dev/zero", "rb") as endless:
        found = subprocess.run(
            [sys.executable, "-c", code], stdin=endless, capture_output=True, text=True, cwd=ROOT, check=False
        )
    assert found.returncode == cli.USAGE_ERROR and "standard input: File too large" in found.stderr


def test_no_reader_of_files_from_outside_goes_around_the_limit():
    """Files whose size the package itself, the system or an earlier check bounds are listed here."""
    known = {
        "bags/files.py", "bags/messages.py", "console/web.py", "demo/processes.py", "doctor/machine.py",
        "engine/tensorrt.py", "evaluation/datasets/conversion.py", "evaluation/report/page.py", "hub/memory.py",
        "reasoner/export/stored_weights.py", "reasoner/onnx/words.py", "recording/conditions.py",
        "ros/process/memory.py", "training/reinforcement/progress.py", "training/rendered/scenes.py",
        "training/rendered/videos.py",
    }  # fmt: skip
    package = ROOT / "reasonseg_ros"
    found = {
        os.fspath(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"\.read_bytes\(\)|\.read_text\(|stdin\.(buffer\.)?read\(\)", path.read_text())
    }
    assert found - known == set()

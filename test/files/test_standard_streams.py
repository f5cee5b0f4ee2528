"""A process that was started with closed standard streams."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, sys
from reasonseg_ros.files.standard_streams import open_standard_streams
open_standard_streams()
file = open(sys.argv[1], "w")
for number in (1, 2):
    os.write(number, b"a library's warning")
print("printed", file=sys.stderr)
print(sys.stdin.read())
file.write("the result")
"""


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-", "</dev/null"])
def test_what_libraries_print_gets_into_no_file(closed: str, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    command = ["bash", "-c", f'exec "$0" -c "$1" "$2" {closed}', sys.executable, CODE, str(out)]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60).returncode == 0
    assert out.read_text() == "the result"


@pytest.mark.parametrize(("closed", "status"), [("<&-", 0), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)])
def test_a_verb_works_without_them(closed: str, status: int) -> None:
    command = ["bash", "-c", f'exec "$0" -m reasonseg_ros.cli parse --size 10x10 {closed}', sys.executable]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60).returncode == status

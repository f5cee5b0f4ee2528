"""Files that processes append to."""

import os

import pytest

from reasonseg_ros.files.appended import append_line, open_appended


def test_an_absent_file_is_made_and_a_known_one_is_kept(tmp_path):
    path = tmp_path / "lines.jsonl"
    for number in range(2):
        with open_appended(path) as file:
            assert file.read().count(b"\n") == number
            append_line(file, {"number": number})
    assert path.read_bytes() == b'{"number": 0}\n{"number": 1}\n'


def test_a_line_can_be_read_before_the_file_is_closed(tmp_path):
    with open_appended(tmp_path / "lines.jsonl") as file:
        append_line(file, [1])
        assert (tmp_path / "lines.jsonl").read_bytes() == b"[1]\n"


def test_what_is_no_json_leaves_the_file_as_it_was(tmp_path):
    with open_appended(tmp_path / "lines.jsonl") as file, pytest.raises(ValueError, match="JSON"):
        append_line(file, float("nan"))
    assert (tmp_path / "lines.jsonl").read_bytes() == b""


@pytest.mark.parametrize("is_there", [False, True])
def test_a_link_is_not_followed(tmp_path, is_there):
    other, link = tmp_path / "other", tmp_path / "lines.jsonl"
    if is_there:
        other.write_bytes(b"as it was")
    link.symlink_to(other)
    with pytest.raises(OSError, match="symbolic links") as caught:
        open_appended(link)
    assert os.fspath(caught.value.filename) == str(link)
    assert other.exists() == is_there and (not is_there or other.read_bytes() == b"as it was")

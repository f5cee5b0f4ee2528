"""Small JSON and YAML files from outside: read, or refused in one short line."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonseg_ros.files import documents
from reasonseg_ros.files.documents import MAX_DEPTH, UnreadableDocument, read_json_document, read_yaml_document

LAUGHS = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))])


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (read_json_document, '{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
        (read_yaml_document, "a:\n- 1\n- b: null\n", {"a": [1, {"b": None}]}),
        (read_yaml_document, "a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}),
        (
            read_yaml_document,
            "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n1: x\n'1': y\n",
            {"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}, 1: "x", "1": "y"},
        ),
        (read_json_document, "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), None),
    ],
)
def test_a_file_is_read(tmp_path: Path, read, text: str, expected: object) -> None:
    (tmp_path / "file").write_text(text)
    value = read(tmp_path / "file")
    assert expected is None or value == expected


@pytest.mark.parametrize(
    ("read", "content", "reason"),
    [
        (read_json_document, b"[" * 100_000 + b"]" * 100_000, "nested deeper than 100 levels"),
        (read_json_document, b"[" * 150 + b"]" * 150, "nested deeper than 100 levels"),
        (read_json_document, b'{"a":' * 100_000, "nested deeper than 100 levels"),
        (read_yaml_document, b"[" * 5000 + b"]" * 5000, "nested deeper than 100 levels"),
        (read_yaml_document, b"a: &a [*a]\n" + b"- x\n" * 3, "expected"),
        (read_yaml_document, b"!!python/object/apply:os.system [true]", "could not determine a constructor"),
        (read_yaml_document, b"a: 1\nb: {c: 1, d: 2, c: 1}\n", "the key 'c' stands twice in one mapping.* line 2"),
        (read_json_document, b"\xff\xfe{}", "codec can't decode"),
        (read_json_document, b"{", "Expecting property name"),
        (read_json_document, b" " * 2000 + b"{}", "larger than 0 MB"),
    ],
)
def test_what_cannot_be_read_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read, content: bytes, reason: str
) -> None:
    if content.startswith(b" "):
        monkeypatch.setattr(documents, "MAX_BYTES", 1000)
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UnreadableDocument, match=reason) as reported:
        read(tmp_path / "file")
    assert "\n" not in str(reported.value) and len(str(reported.value)) < 400


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match="No such file"):
        read_json_document(tmp_path / "file")


def test_aliases_that_multiply_take_no_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(LAUGHS)
    assert len(read_yaml_document(tmp_path / "file")) == 30

"""Training rows: written and read back, and every wrong row refused with file and line."""

import json

import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.rows import TrainingRow, TrueTarget, read_rows, write_rows

TARGET = TrueTarget((0.0, 10.0, 839.0, 500.5), ((1.0, 11.0), (30.0, 400.0)))
GOOD = {
    "id": "1", "image": "a.png", "question": "the cup", "targets": [{"box_xyxy": [1, 2, 3, 4], "points_xy": [[2, 3]]}]
}  # fmt: skip


def test_rows_come_back_as_they_were_written(tmp_path):
    (tmp_path / "a.png").touch()
    rows = [
        TrainingRow("1", "a.png", "무엇?", (TARGET,), "a thought"), TrainingRow("2", "a.png", "a submarine", ()),
        TrainingRow("3", "a.png", "one\u2028two\x85three", ()),
    ]  # fmt: skip
    write_rows(tmp_path, rows)
    assert read_rows(tmp_path) == rows
    written = (tmp_path / "rows.jsonl").read_bytes()
    (tmp_path / "rows.jsonl").write_bytes(written.replace(b"\n", b"\r\n"))
    assert read_rows(tmp_path) == rows
    text = json.dumps(GOOD | {"question": "one\u2028two"}, ensure_ascii=False)
    (tmp_path / "rows.jsonl").write_text(text + "\n", encoding="utf-8")
    assert [row.question for row in read_rows(tmp_path)] == ["one\u2028two"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question": "  "}, "no question"),
        ({"question": 7}, "question is 7; expected text"),
        ({"image": "../a.png"}, "a path inside its folder"),
        ({"image": "/a.png"}, "a path inside its folder"),
        ({"image": "b.png"}, "there is no image b.png"),
        ({"targets": None}, "expected a list"),
        ({"targets": [{"box_xyxy": [1, 2, 3], "points_xy": [[2, 3]]}]}, "4 numbers"),
        ({"targets": [{"box_xyxy": [1, 2, 3, "4"], "points_xy": [[2, 3]]}]}, "4 numbers"),
        ({"targets": [{"box_xyxy": [1, 2, 3, True], "points_xy": [[2, 3]]}]}, "4 numbers"),
        ({"targets": [{"box_xyxy": [3, 2, 1, 4], "points_xy": [[2, 3]]}]}, "x1 <= x2"),
        ({"targets": [{"box_xyxy": [1, 2, 3, 841], "points_xy": [[2, 3]]}]}, "from 0 to 840"),
        ({"targets": [{"box_xyxy": [1, 2, 3, 4], "points_xy": []}]}, "one or two"),
        ({"targets": [{"box_xyxy": [1, 2, 3, 4]}]}, "points_xy"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path, change, said):
    (tmp_path / "a.png").touch()
    (tmp_path / "rows.jsonl").write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | change) + "\n")
    with pytest.raises(InvalidInput, match="line 2") as raised:
        read_rows(tmp_path)
    assert said in str(raised.value)


def test_a_folder_without_rows_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="cannot read"):
        read_rows(tmp_path)
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(InvalidInput, match="no rows"):
        read_rows(tmp_path)

"""Rows about videos: their file, and rows from rendered videos."""

import json

import numpy as np
import pytest

from reasonseg_ros.cli import main
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.files import read_image
from reasonseg_ros.tabletop.videos.temporal import sightings
from reasonseg_ros.training.rendered.videos import VideoFiles
from reasonseg_ros.training.rows import ROWS_NAME, TRUTH_PX, read_rows
from reasonseg_ros.training.video_rows import read_video_rows

GOOD = {"id": "1", "frames": ["a.png", "b.png"], "question": "what fell?", "boxes_xyxy": [[1, 2, 3, 4], None]}


def written(folder, *lines):
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    (folder / ROWS_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def rendered(video_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("rows")
    arguments = ["--videos", str(video_folder), "--out", str(out), "--count", "4", "--phrasing", "unseen"]
    assert main(["train", "data", *arguments]) == 0
    return out


def test_rendered_videos_become_rows_with_the_boxes_of_their_masks(rendered, video_folder):
    videos, rows = VideoFiles(video_folder), read_video_rows(rendered)
    assert len(rows) == 4 and any(any(row.boxes_xyxy) for row in rows)
    for row in rows:
        video = next(each for each in videos if str(each.seed) == row.id)
        own = {event.instance_id for event in video.events}
        visible = {frame for frame, box in enumerate(row.boxes_xyxy) if box is not None}
        assert not visible or any(visible == {s.frame for s in sightings(video, target)} for target in own)
        for frame, (path, box) in enumerate(zip(row.frames, row.boxes_xyxy, strict=True)):
            ids = video.scenes[frame].instance_ids
            np.testing.assert_array_equal(read_image(rendered / path), video.scenes[frame].rgb)
            if box is not None:
                height, width = ids.shape
                y, x = ((value[0] * 2 + value[1]) // 3 for value in np.sort(  # a pixel inside
                    np.array([[box[1] * height / TRUTH_PX, box[3] * height / TRUTH_PX],
                              [box[0] * width / TRUTH_PX, box[2] * width / TRUTH_PX]]), 1))  # fmt: skip
                found = ids[round(y), round(x)]
                rows_of, columns_of = np.nonzero(ids == found)
                expected = (columns_of.min(), rows_of.min(), columns_of.max(), rows_of.max())
                assert found in own
                scale = (TRUTH_PX / width, TRUTH_PX / height)
                assert box == pytest.approx([value * scale[i % 2] for i, value in enumerate(expected)])


def test_more_rows_than_the_videos_allow_are_refused(video_folder, tmp_path, capsys):
    assert main(["train", "data", "--videos", str(video_folder), "--out", str(tmp_path), "--count", "5"]) == 2
    assert "4 of 5" in capsys.readouterr().err
    assert not (tmp_path / ROWS_NAME).exists()


def test_a_row_is_read_as_it_was_written(tmp_path):
    (row,) = read_video_rows(written(tmp_path, GOOD))
    assert row.boxes_xyxy == ((1, 2, 3, 4), None) and row.images == ("a.png", "b.png")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frames": ["a.png"], "boxes_xyxy": [None]}, "two frames or more"),
        ({"boxes_xyxy": [None]}, "2 frames and 1 boxes"),
        ({"boxes_xyxy": [[1, 2, 3], None]}, "for each frame"),
        ({"boxes_xyxy": [[3, 2, 1, 4], None]}, "x1 <= x2"),
        ({"boxes_xyxy": [[1, 2, 3, 841], None]}, "from 0 to 840"),
        ({"boxes_xyxy": [[1, 2, float("nan"), 4], None]}, "line 1"),
        ({"boxes_xyxy": 7}, "for each frame"),
        ({"boxes_xyxy": []}, "for each frame"),
        ({"boxes_xyxy": {"1": None}}, "for each frame"),
        ({"frames": ["a.png", "../b.png"]}, "inside its folder"),
        ({"frames": ["a.png", "c.png"]}, "no image c.png"),
        ({"frames": "ab"}, "not all text"),
        ({"frames": [1, 2]}, "not all text"),
        ({"question": " "}, "no question"),
        ({"question": None}, "not all text"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path, change, said):
    with pytest.raises(InvalidInput, match=said) as raised:
        read_video_rows(written(tmp_path, GOOD | change))
    assert f"{ROWS_NAME}, line 1" in str(raised.value)


def test_videos_of_several_lengths_are_refused(tmp_path):
    longer = GOOD | {"frames": ["a.png", "b.png", "a.png"], "boxes_xyxy": [None] * 3}
    with pytest.raises(InvalidInput, match="2 to 3 frames"):
        read_video_rows(written(tmp_path, GOOD, longer))


def test_rows_of_the_other_kind_are_named(tmp_path):
    with pytest.raises(InvalidInput, match="about a video"):
        read_rows(written(tmp_path, GOOD))
    with pytest.raises(InvalidInput, match="about one image"):
        read_video_rows(written(tmp_path, {"id": "1", "image": "a.png", "question": "a cup", "targets": []}))

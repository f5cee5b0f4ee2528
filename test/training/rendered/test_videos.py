import json

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.rendered.videos import VideoFiles, write_videos


def test_a_chunk_gives_back_what_was_written(video_folder, make_video):
    files = VideoFiles(video_folder)
    assert len(files) == 4
    stored, video = files[2], make_video(2)
    assert (stored.seed, stored.rate_hz, stored.events) == (2, 2.0, video.events)
    assert len(stored.scenes) == 6
    for ours, theirs in zip(stored.scenes, video.scenes, strict=True):
        assert ours.objects == theirs.objects
        assert np.array_equal(ours.rgb, theirs.rgb) and np.array_equal(ours.instance_ids, theirs.instance_ids)


def test_new_chunks_are_found_and_half_written_ones_are_not(tmp_path, make_video):
    write_videos([make_video(0)], tmp_path / "videos_0000000000")
    files = VideoFiles(tmp_path)
    unfinished = tmp_path / ".videos_0000000001.77"
    unfinished.mkdir()
    (unfinished / "videos.json").write_text(json.dumps([]))
    write_videos([make_video(1)], tmp_path / "videos_0000000002")
    files.refresh()
    assert len(files) == 2


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="no videos in"):
        VideoFiles(tmp_path)

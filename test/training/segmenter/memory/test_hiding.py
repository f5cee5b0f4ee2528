from dataclasses import replace
from pathlib import Path

import numpy as np

from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.rendered.videos import VideoFiles
from reasonseg_ros.training.segmenter.memory.clips import clip_batch
from reasonseg_ros.training.segmenter.memory.hiding import hiding_order, lay_over, paste


def test_a_film_is_played_until_something_is_out_of_sight_and_often_back(video_folder: Path) -> None:
    video = VideoFiles(video_folder)[0]
    returned = 0
    for seed in range(20):
        order = hiding_order(video, 5, np.random.default_rng(seed))
        assert len(order) == 5
        frames = [video.scenes[i].instance_ids for i in order]
        # Object 5 is hidden in it; object 4 is put down, and taken away again backwards.
        seen = [[bool((frame == i).any()) for frame in frames] for i in (4, 5)]
        assert any(one[0] and not all(one) for one in seen)
        returned += any(one[0] and one[-1] and not all(one) for one in seen)
    assert 0 < returned < 20


def test_a_film_in_which_nothing_is_hidden_has_no_order(video_folder: Path) -> None:
    video = VideoFiles(video_folder)[0]
    pushed = replace(video, events=tuple(event for event in video.events if event.kind == "pushed"))
    assert hiding_order(pushed, 5, np.random.default_rng(0)) == []


def test_a_cut_out_covers_all_of_a_target_and_goes_on(scene_folder: Path) -> None:
    scenes = SceneFiles(scene_folder)
    hidden = after = 0
    for seed in range(12):
        rgb = [scenes[0].rgb.copy() for _ in range(7)]
        ids = [scenes[0].instance_ids.copy() for _ in range(7)]
        lay_over(rgb, ids, 2, 100, scenes, np.random.default_rng(seed))
        areas = [int((frame == 2).sum()) for frame in ids]
        changed = [(now != scenes[0].rgb).any(axis=2) for now in rgb]
        assert all(((frame == 100) | ~where).all() for frame, where in zip(ids, changed, strict=True))
        if 0 in areas:
            hidden += 1
            assert areas[0] > 0
            after += areas[-1] > 0
    assert hidden >= 6
    assert after


def test_a_cut_out_may_lie_beyond_the_border() -> None:
    image, labels = np.zeros((6, 8, 3), np.uint8), np.zeros((6, 8), np.uint8)
    color, cover = np.full((4, 4, 3), 9, np.uint8), np.ones((4, 4), np.float32)
    paste(image, labels, color, cover, np.array([-2, 4]), 100)
    assert (labels > 0).sum() == 4 and (labels[4:, :2] == 100).all()
    paste(image, labels, color, cover, np.array([30, -9]), 101)
    assert 101 not in labels and (image[..., 0] == 9 * (labels == 100)).all()


def test_batches_have_hidden_targets_where_they_are_asked_for(video_folder: Path, scene_folder: Path) -> None:
    videos, scenes = VideoFiles(video_folder), SceneFiles(scene_folder)
    shares = []
    for hiding in (0.0, 1.0):
        batches = [clip_batch(videos, scenes, 1, 3, 6, 64, np.random.default_rng(i), hiding) for i in range(12)]
        assert all((batch.areas_px[:, :, 0] > 0).all() for batch in batches)
        shares.append(np.mean([(batch.areas_px[:, :, 1:] == 0).float().mean() for batch in batches]))
    assert shares[1] > 0.2 and shares[1] > shares[0]

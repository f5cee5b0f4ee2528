"""Draws from data in which nothing can be used end, with the reason."""

from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.reasoner.batches import Batches
from reasonseg_ros.training.segmenter.batches import scene_batch
from reasonseg_ros.training.segmenter.memory.clips import clip_batch
from reasonseg_ros.training.segmenter.points.run import STAGES, PointRun
from reasonseg_ros.training.skipping import LEAST_TRIES, TRIES_PER_ITEM, Skipped


def without_objects(scene):
    return replace(scene, instance_ids=np.zeros_like(scene.instance_ids), part_ids=np.zeros_like(scene.part_ids))


def test_only_items_that_are_skipped_in_a_row_count():
    skipped = Skipped(3, "nothing to draw")
    most = LEAST_TRIES + 3 * TRIES_PER_ITEM
    for _ in range(3):
        for _ in range(most - 1):
            skipped.skip()
        skipped.use()
    for _ in range(most - 1):
        skipped.skip()
    with pytest.raises(InvalidInput, match="nothing to draw"):
        skipped.skip()


def test_videos_without_a_clear_question_are_refused(make_video):
    class NoQuestions:
        def examples(self, *_):
            return iter(())

    batches = Batches([], None, 0, 2, 0, [make_video(0), make_video(1)], NoQuestions())
    with pytest.raises(InvalidInput, match="no video has a clear question"):
        batches.draw_videos(0, 0, 2)


def test_scenes_without_a_large_object_are_refused(make_scene):
    scenes = [without_objects(make_scene(0))]
    with pytest.raises(InvalidInput, match="no scene has an object of"):
        scene_batch(scenes, 1, 1, 32, np.random.default_rng(0))


def test_videos_and_scenes_without_a_large_object_are_refused(make_scene, make_video):
    scenes = [without_objects(make_scene(0))]
    video = make_video(0)
    videos = [replace(video, scenes=tuple(without_objects(scene) for scene in video.scenes))]
    with pytest.raises(InvalidInput, match="no video or scene has an object of"):
        clip_batch(videos, scenes, 1, 1, 3, 32, np.random.default_rng(0))


def test_points_on_scenes_without_a_large_object_are_refused(make_scene, monkeypatch):
    run = PointRun.__new__(PointRun)
    run.stages, run.stage_index, run.step, run.seed = STAGES, 0, 0, 0
    monkeypatch.setattr(run, "_batch", lambda scene, rng: None)
    with pytest.raises(InvalidInput, match="no scene has an object of more than"):
        run.train_step([make_scene(0)])

"""Scenes of coloured rectangles, with enough ground truth for questions, drawn in microseconds."""

from __future__ import annotations

import random
import sys
from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.tabletop.questions.corpus import corpus
from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS, Scene, SceneObject, ScenePart
from reasonseg_ros.tabletop.videos.video import Event, Video
from reasonseg_ros.training.reasoner.tokenizer import build_tokenizer
from reasonseg_ros.training.rendered.scenes import write_chunk
from reasonseg_ros.training.rendered.videos import write_videos

SIZE_WH = (320, 240)
RGB = {"red": (200, 30, 30), "green": (30, 160, 40), "blue": (40, 60, 200), "yellow": (230, 210, 40),
       "orange": (240, 130, 20), "purple": (130, 40, 150), "white": (240, 240, 240), "black": (20, 20, 20)}  # fmt: skip


def draw_scene(seed: int) -> Scene:
    rng = random.Random(seed)
    width, height = SIZE_WH
    rgb = np.full((height, width, 3), 120, np.uint8)
    instance_ids, part_ids = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    objects, parts = [], []
    for i, category in enumerate(rng.sample(CATEGORIES, 5), 1):
        wide, high = rng.randint(16, 48), rng.randint(16, 60)
        x, y = 4 + (i - 1) * 63, rng.randint(4, height - high - 4)
        color = rng.choice(COLORS)
        rows, columns = slice(y, y + high), slice(x, x + wide)
        rgb[rows, columns] = RGB[color]
        instance_ids[rows, columns] = part_ids[rows, columns] = i
        box, middle = (x, y, x + wide, y + high), (x + wide // 2, y + high // 2)
        size_m = (rng.uniform(0.1, 0.3), rng.uniform(0.02, 0.09), rng.uniform(0.02, 0.3))
        objects.append(
            SceneObject(i, category, color, (x / 500, y / 500, 0.05), size_m, wide * high, 1.0, box, middle, 0.8)
        )
        parts.append(ScenePart(i, i, "body", wide * high, box, middle))
    depth_m = np.full((height, width), 0.8, np.float32)
    camera = Intrinsics(300.0, 300.0, 160.0, 120.0)
    return Scene(seed, rgb, depth_m, instance_ids, part_ids, tuple(objects), tuple(parts), camera, np.eye(4))


@pytest.fixture(autouse=True)
def threads_as_before():
    """Restore torch's number of threads. A run changes it for the process, which would slow later tests."""
    torch = sys.modules.get("torch")
    threads = torch and torch.get_num_threads()
    yield
    if torch:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer(corpus())


@pytest.fixture
def make_scene():
    return draw_scene


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory):
    """A folder with one chunk of eight scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    write_chunk((draw_scene(seed) for seed in range(8)), folder / "scenes_0000000000")
    return folder


def draw_video(seed: int) -> Video:
    """Six frames in which object 2 is pushed, object 4 put down and object 5 hidden, from frame 3 on."""
    scene = draw_scene(seed)
    frames = []
    for frame in range(6):
        gone = {5} if frame >= 3 else {4}
        items = tuple(
            replace(o, area_px=0, visible_share=0.0, box_xyxy=(0, 0, 0, 0)) if o.instance_id in gone else o
            for o in scene.objects
        )
        ids = np.where(np.isin(scene.instance_ids, list(gone)), 0, scene.instance_ids).astype(np.uint8)
        frames.append(replace(scene, instance_ids=ids, objects=items))
    events = (Event("pushed", 2, 3, 4), Event("put_down", 4, 3, 3), Event("hidden", 5, 3, 3))
    return Video(seed, 2.0, tuple(frames), events)


@pytest.fixture
def make_video():
    return draw_video


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory):
    """A folder with one chunk of four videos."""
    folder = tmp_path_factory.mktemp("videos")
    write_videos([draw_video(seed) for seed in range(4)], folder / "videos_0000000000")
    return folder

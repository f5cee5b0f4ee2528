"""Targets of one pixel, of the whole image and at its edges, through the trackers that robots use."""

import time

import numpy as np
import pytest
import torch
from transformers import Sam2VideoModel

from reasonseg_ros.config import Config, QueryConfig
from reasonseg_ros.config.models import SegmenterConfig, TrackerConfig
from reasonseg_ros.live.worker import Worker
from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.methods.tracking import load_tracker
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.reprompting import RepromptTracker
from reasonseg_ros.segmenter.tracker import MemoryTracker
from reasonseg_ros.training.segmenter.memory.model import video_config
from reasonseg_ros.training.segmenter.model import small_config
from reasonseg_ros.types import Answer, Frame, Grounding, Mode, Status
from test.live.robot import Robot

SIZE_WH = (97, 61)
BOXES_XYXY = {
    "one pixel": (40, 20, 41, 21),
    "the last pixel": (96, 60, 97, 61),
    "the whole image": (0, 0, 97, 61),
    "one row": (0, 30, 97, 31),
}


@pytest.fixture(scope="module", params=["reprompt", "memory"])
def models(request, tmp_path_factory):
    """A config with the segmenter and the trackers that the package loads for it, with random weights."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("sam2") / "video"
    Sam2VideoModel(video_config(small_config(64), 64)).save_pretrained(folder)
    config = Config(
        segmenter=SegmenterConfig(model=str(folder)),
        tracker=TrackerConfig(mode=request.param, lost_after_s=0.2),
        query=QueryConfig(frame_wait_s=1.0),
    )
    segmenter = KeptFeatures(load_segmenter(config.segmenter), 2)
    make_tracker = load_tracker(config, segmenter)
    assert isinstance(make_tracker(), MemoryTracker if request.param == "memory" else RepromptTracker)
    return config, segmenter, make_tracker


@pytest.mark.parametrize("box_xyxy", BOXES_XYXY.values(), ids=BOXES_XYXY)
def test_following_ends_with_masks_that_can_be_used_or_says_that_it_is_lost(start, models, box_xyxy):
    config, segmenter, make_tracker = models
    robot = start()
    robot.worker.stop()
    robot.reasoner = ScriptedReasoner([Answer(Status.OK, groundings=(Grounding(np.array(box_xyxy, np.float32)),))])
    robot.worker = Worker(RevSeg(SegZero(robot.reasoner, segmenter, config), make_tracker), make_tracker)
    robot.worker.start()
    rng = np.random.default_rng(0)
    show_noise(robot, rng, 1)
    robot.ask(Mode.TRACK, frames=4)
    deadline_s = time.monotonic() + 120
    for tenth in range(2, 400):
        if robot.outcomes and robot.outcomes[-1].is_last:
            break
        assert time.monotonic() < deadline_s, robot.outcomes
        show_noise(robot, rng, tenth)
        time.sleep(0.05)
    assert robot.outcomes[-1].is_last
    for outcome in robot.outcomes:
        assert outcome.answer.status in (Status.OK, Status.EMPTY_MASK, Status.LOST), outcome.answer
        assert bool(outcome.segmentation.regions) == (outcome.answer.status is Status.OK)
        for region in outcome.segmentation.regions:
            assert region.mask.shape == SIZE_WH[::-1] and region.mask.any()
            assert 0 <= region.mask_score <= 1
            assert (region.box_xyxy >= 0).all() and (region.box_xyxy <= np.tile(SIZE_WH, 2)).all()


def show_noise(robot: Robot, rng: np.random.Generator, tenth: int) -> None:
    robot.show(Frame(rng.integers(0, 255, (*SIZE_WH[::-1], 3), np.uint8), tenth * 100_000_000))

"""Training of the segmenter's memory on drawn videos: clips, one step, and what is published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from reasonseg_ros.config import config_from
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.methods.tracking import load_tracker
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.sam2 import preprocess
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.rendered.videos import VideoFiles
from reasonseg_ros.training.segmenter.memory import run as training
from reasonseg_ros.training.segmenter.memory.clips import _to_and_fro, clip_batch
from reasonseg_ros.training.segmenter.memory.evaluation import Followed, evaluate_memory, visibility_counts
from reasonseg_ros.training.segmenter.memory.model import TRAINED
from reasonseg_ros.training.segmenter.memory.run import MemoryStage, unrolled_loss
from reasonseg_ros.training.segmenter.memory.unroll import encode, followed_frame, prompted_frame, recall, remember
from reasonseg_ros.training.segmenter.model import new_model, resized_model
from reasonseg_ros.training.segmenter.run import publish
from reasonseg_ros.types import Grounding

STAGES = (
    MemoryStage("short", 1, 64, 1, 2, 1e-3, frames=3, forced=1.0),
    MemoryStage("long", 1, 64, 1, 2, 1e-3, restarts=True, frames=4, hiding=1.0, kept=True),
    MemoryStage("sharp", 1, 96, 1, 2, 1e-3, frames=3),
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image") / "model"
    publish(new_model(64, 1), folder)
    return folder


def test_clips_repeat_from_their_seed_and_prompts_lie_on_their_targets(video_folder: Path, scene_folder: Path) -> None:
    videos, scenes = VideoFiles(video_folder), SceneFiles(scene_folder)
    for seed in range(6):
        one, two = (clip_batch(videos, scenes, 2, 3, 4, 64, np.random.default_rng(seed)) for _ in range(2))
        torch.testing.assert_close(one.pixels, two.pixels)
        assert one.pixels.shape == (2, 4, 3, 64, 64)
        assert one.targets.shape == (2, 3, 4, 32, 32)
        assert ((one.targets >= 0) & (one.targets < 1.001)).all()
        assert (one.areas_px[:, :, 0] > 0).all(), "whatever is asked for is seen in the first frame"
        middles = (one.prompts_xyxy[..., :2] + one.prompts_xyxy[..., 2:]) / 2
        boxes = one.boxes_xyxy[:, :, 0]
        assert ((middles > boxes[..., :2]) & (middles < boxes[..., 2:])).all()


def test_frames_run_to_and_fro() -> None:
    assert _to_and_fro(3, 2, 6, 6) == [3, 5, 3, 1, 1, 3]
    assert _to_and_fro(1, -1, 4, 6) == [1, 0, 1, 2]


@pytest.fixture(scope="module")
def trained(
    image_folder: Path, video_folder: Path, scene_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> training.MemoryRun:
    """A run after one step in each stage."""
    run = training.MemoryRun(tmp_path_factory.mktemp("run"), STAGES, CPU, 0, image_folder)
    assert training.train(run, [training.ClipSource(video_folder, scene_folder)])
    return run


def test_only_the_memory_learns(trained: training.MemoryRun, image_folder: Path) -> None:
    image = new_model(64, 1).state_dict()
    fresh = training.MemoryRun(trained.folder / "fresh", STAGES, CPU, 0, image_folder).model.state_dict()
    changed = {name for name, value in trained.model.state_dict().items() if not torch.equal(value, fresh[name])}
    assert changed
    assert all(name.startswith(TRAINED) for name in changed)
    assert {"memory_attention.layer_norm.weight", "memory_encoder.projection.weight"} <= changed
    untouched = set(image) - {name for name in image if name.startswith(TRAINED)}
    assert all(torch.equal(trained.model.state_dict()[name], image[name]) for name in untouched)


def test_a_stopped_run_goes_on(trained: training.MemoryRun, image_folder: Path) -> None:
    again = training.MemoryRun(trained.folder, STAGES, CPU, 0, image_folder)
    assert (again.stage.name, again.step) == ("sharp", 1)
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, trained.model.state_dict()[name]), name


def test_the_finished_model_has_its_share_of_the_kept_weights(trained: training.MemoryRun) -> None:
    kept = torch.load(trained.folder / "kept.pt", weights_only=True)
    last, finished = trained.model.state_dict(), trained.finished_model().state_dict()
    name = "memory_attention.layer_norm.weight"
    assert not torch.equal(kept[name], last[name])
    for name, weight in finished.items():
        expected = (kept[name] + last[name]) / 2 if name.startswith(TRAINED) else last[name]
        torch.testing.assert_close(weight, expected)


def test_training_follows_as_the_tracker_does(trained: training.MemoryRun, video_folder: Path, tmp_path: Path) -> None:
    training.publish_video(trained.model, tmp_path / "model")
    settings = {"segmenter.model": str(tmp_path / "model"), "segmenter.refine": "none", "segmenter.device": "cpu"}
    config = config_from({**settings, "tracker.mode": "memory", "tracker.overlap": True})
    segmenter = load_segmenter(config.segmenter)
    tracker = load_tracker(config, segmenter)()
    video = VideoFiles(video_folder)[0]
    boxes = [video.scenes[0].objects[i].box_xyxy for i in (0, 1)]
    frames = [np.ascontiguousarray(scene.rgb) for scene in video.scenes]
    tracker.add(segmenter.encode(frames[0]), [Grounding(np.array(box, np.float32)) for box in boxes], 0)
    found = [[t.mask for t in tracker.step(segmenter.encode(rgb), i)] for i, rgb in enumerate(frames[1:4], 1)]

    model = trained.model.eval()
    factors = np.tile([96 / 320, 96 / 240], 2)
    with torch.inference_mode():
        pixels = torch.from_numpy(np.stack([preprocess(rgb, 96) for rgb in frames[:4]]))
        features = encode(model, pixels[None], 2)
        first = prompted_frame(model, features[0], torch.tensor(boxes * factors, dtype=torch.float32), None)
        prompted, recent = remember(model, features[0], first, first.score > -100, True), []
        for index in range(1, 4):
            now = followed_frame(model, features[index], recall(model, features[index], prompted, index, recent))
            recent.insert(0, remember(model, features[index], now, now.score > 0, False))
            for logits, score, mask in zip(now.logits, now.score, found[index - 1], strict=True):
                large = torch.nn.functional.interpolate(logits[None, None], (240, 320), mode="bilinear")[0, 0] > 0
                assert mask_iou(large.numpy() & bool(score > 0), mask) > 0.99


def test_what_is_published_draws_single_images_as_before(
    trained: training.MemoryRun, tmp_path: Path, video_folder: Path
) -> None:
    training.publish_video(trained.model, tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["model_type"] == "sam2_video"
    rgb = np.ascontiguousarray(VideoFiles(video_folder)[1].scenes[0].rgb)
    prompts = [Grounding(np.array([4, 10, 60, 90], np.float32))]
    settings = {"segmenter.refine": "none", "segmenter.device": "cpu"}
    drawn = []
    for folder in (tmp_path / "model", tmp_path / "image"):
        if folder.name == "image":
            publish(resized_model(new_model(64, 1), 96), folder)
        segmenter = load_segmenter(config_from({**settings, "segmenter.model": str(folder)}).segmenter)
        drawn.append(segmenter.decode(segmenter.encode(rgb), prompts)[0])
    assert np.array_equal(drawn[0].mask, drawn[1].mask)
    assert drawn[0].score == pytest.approx(drawn[1].score, abs=1e-5)


@pytest.mark.parametrize(("bias", "reported"), [(30.0, (1.0, 0.0)), (-30.0, (0.0, 1.0))])
def test_telling_hidden_and_seen_targets_is_learnt(
    trained: training.MemoryRun, video_folder: Path, scene_folder: Path, bias: float, reported: tuple[float, float]
) -> None:
    videos, scenes = VideoFiles(video_folder), SceneFiles(scene_folder)
    batch = clip_batch(videos, scenes, 2, 3, 5, 96, np.random.default_rng(3), hiding_share=1.0)
    assert (batch.areas_px[:, :, 1:] == 0).any() and (batch.areas_px[:, :, 1:] >= 60).any()
    model = trained.model
    last = model.mask_decoder.pred_obj_score_head.proj_out.bias
    with torch.no_grad():
        last += bias
        found = unrolled_loss(model, batch, forced=True)
        last -= bias
        assert (found.reported_seen, found.reported_hidden) == reported
        assert found.loss > unrolled_loss(model, batch, forced=True).loss + 1


def test_frames_with_right_visibility_are_counted() -> None:
    followed = Followed("memory", 1, 2, (), (), (0.0, 0.0, 0.1, 0.6, 1.0), (True, False, False, True, False))
    assert visibility_counts([followed, followed]) == {"hidden": (2, 4), "in sight": (2, 4)}


def test_evaluation_tells_both_modes(
    trained: training.MemoryRun, video_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.publish_video(trained.model, tmp_path / "model")
    followed = evaluate_memory(str(tmp_path / "model"), video_folder, limit=1, pictures=tmp_path / "pictures")
    assert {item.mode for item in followed} == {"memory", "reprompt"}
    assert {kind for item in followed for kind in item.events} == {"pushed", "hidden"}
    assert all(len(item.scores) == 5 for item in followed)
    assert "J&F" in capsys.readouterr().out
    [returned] = evaluate_memory(str(tmp_path / "model"), video_folder, ["reprompt"], limit=1, returning=True)
    assert returned.instance_id == 5 and len(returned.scores) == 10
    assert len(list((tmp_path / "pictures").iterdir())) == 2


def test_there_is_nothing_to_export_before_training(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(InvalidInput, match="train first"):
        training.export_memory(image_folder, tmp_path, tmp_path / "out")

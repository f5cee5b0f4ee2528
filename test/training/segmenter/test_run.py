from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.model_card import load_card
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.tabletop.scene import Scene, SceneObject
from reasonseg_ros.training.rendered.scenes import SceneFiles, write_chunk
from reasonseg_ros.training.segmenter import run as training
from reasonseg_ros.training.segmenter.batches import box_prompt, ellipse_batch, point_prompts, scene_batch
from reasonseg_ros.training.segmenter.evaluation import score_objects
from reasonseg_ros.training.segmenter.model import new_model, resized_model

STAGES = (
    training.Stage("ellipses", 2, 32, 1, 2, 1e-3),
    training.Stage("coarse", 3, 32, 2, 3, 1e-3, restarts=True),
    training.Stage("fine", 2, 64, 1, 2, 1e-3),
)
CPU = torch.device("cpu")


def drawn_scene(seed: int) -> Scene:
    """A red box on grey, and a smaller one with a strip as a separate part."""
    ids, parts = np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8)
    ids[10:30, 8:28], ids[20:40, 40:56] = 1, 2
    parts[ids > 0] = ids[ids > 0]
    parts[20:25, 40:56] = 3
    rgb = np.full((48, 64, 3), 120, np.uint8)
    rgb[ids == 1], rgb[ids == 2] = (220, 30, 30), (30, 60, 220)
    boxes = {1: (8, 10, 28, 30), 2: (40, 20, 56, 40)}
    objects = tuple(
        SceneObject(i, "book", "red", (0, 0, 0), (1, 1, 1), int((ids == i).sum()), 1.0, boxes[i], (20 * i, 25), 1.0)
        for i in (1, 2)
    )
    depth_m = np.ones((48, 64), np.float32)
    return Scene(seed, rgb, depth_m, ids, parts, objects, (), Intrinsics(60, 60, 32, 24), np.eye(4))


@pytest.fixture
def scenes(tmp_path: Path) -> SceneFiles:
    write_chunk([drawn_scene(i) for i in range(4)], tmp_path / "data" / "scenes_000000000")
    return SceneFiles(tmp_path / "data")


def test_batches_repeat_from_their_seed_and_prompts_lie_on_their_targets(scenes: SceneFiles) -> None:
    one, two = (scene_batch(scenes, 3, 4, 32, np.random.default_rng(7)) for _ in range(2))
    torch.testing.assert_close(one.pixels, two.pixels)
    assert one.pixels.shape == (3, 3, 32, 32)
    assert one.targets.shape == (3, 4, 32, 32)
    assert ((one.targets >= 0) & (one.targets <= 1)).all()
    for boxes, masks in zip(one.boxes_xyxy, one.targets, strict=True):
        for (x1, y1, x2, y2), mask in zip(boxes.tolist(), masks, strict=True):
            rows, columns = torch.nonzero(mask > 0.5).T
            assert x1 < columns.float().mean() < x2
            assert y1 < rows.float().mean() < y2


def test_all_numbers_of_points_come_and_parts_are_targets_too(scenes: SceneFiles) -> None:
    batches = [scene_batch(scenes, 2, 6, 48, np.random.default_rng(seed)) for seed in range(20)]
    counts = {0 if b.points_xy is None else b.points_xy.shape[2] for b in batches}
    assert counts == {0, 1, 2}
    areas = torch.cat([b.targets.sum((-1, -2)).flatten() for b in batches])
    assert areas.min() < 0.5 * areas.median()


def test_prompts_err_a_little_and_stay_in_the_image() -> None:
    mask = np.zeros((40, 60), bool)
    mask[0:20, 30:60] = True
    rng = np.random.default_rng(0)
    boxes = np.stack([box_prompt(mask, rng) for _ in range(300)])
    assert np.abs(boxes.mean(0) - [30, 0, 60, 20]).max() < 1
    assert boxes.std(0).min() > 0.2
    assert (boxes.min(0) >= 0).all()
    assert (boxes.max(0) <= [60, 40, 60, 40]).all()
    assert (boxes[:, 2:] - boxes[:, :2] > [10, 5]).all()
    points = np.stack([point_prompts(mask, 2, rng) for _ in range(300)]).reshape(-1, 2)
    inside = mask[points[:, 1].astype(int), points[:, 0].astype(int)]
    assert 0.9 < inside.mean() <= 1.0


def test_ellipses_fill_their_boxes(scenes: SceneFiles) -> None:
    batch = ellipse_batch(scenes, 2, 3, 64, np.random.default_rng(1))
    sides = batch.boxes_xyxy[..., 2:] - batch.boxes_xyxy[..., :2]
    whole = (batch.boxes_xyxy > 0).all(-1) & (batch.boxes_xyxy < 64).all(-1)
    share = batch.targets.sum((-1, -2)) / sides.prod(-1)
    assert whole.any()
    torch.testing.assert_close(share[whole], torch.full_like(share[whole], torch.pi / 4), atol=0.1, rtol=0)


def test_the_loss_prefers_the_right_mask_and_an_honest_score() -> None:
    targets = torch.zeros(1, 1, 32, 32)
    targets[..., 8:24, 8:24] = 1
    boxes = torch.tensor([[[8.0, 8.0, 24.0, 24.0]]])
    right = torch.nn.functional.avg_pool2d(targets, 4) * 20 - 10
    sure, unsure = torch.ones(1, 1), torch.full((1, 1), 0.5)
    loss, iou = training.mask_loss(right, sure, targets, boxes)
    assert iou > 0.8
    assert loss < training.mask_loss(right, unsure, targets, boxes)[0]
    assert loss < training.mask_loss(right.roll(2, -1), sure, targets, boxes)[0]
    assert training.mask_loss(-right, sure, targets, boxes)[1] < 0.1


def test_the_model_locates_image_and_prompts_by_the_same_matrix_and_takes_any_size() -> None:
    model = new_model(64, seed=1)
    one, other = model.shared_image_embedding, model.prompt_encoder.shared_embedding
    torch.testing.assert_close(one.positional_embedding, other.positional_embedding)
    assert sum(weight.numel() for weight in model.parameters()) * 4 < 12e6
    larger = resized_model(model, 96)
    assert larger.prompt_encoder.input_image_size == 96
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(larger.state_dict()[name], weight)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path, scenes: SceneFiles) -> None:
    whole = training.SegmenterRun(tmp_path / "whole", STAGES, CPU, seed=4)
    assert training.train(whole, [scenes])

    first = training.SegmenterRun(tmp_path / "parts", STAGES, CPU, seed=4)
    train_step, steps = first.train_step, []

    def stop_after_four(source: SceneFiles) -> tuple[float, float]:
        steps.append(1)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(source)

    first.train_step = stop_after_four
    assert not training.train(first, [scenes])
    second = training.SegmenterRun(tmp_path / "parts", STAGES, CPU, seed=99)
    assert (second.stage.name, second.step) == ("coarse", 2)
    second.seed = 4
    assert training.train(second, [scenes])
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], weight)


def test_a_trained_model_is_a_checkpoint_like_any_other(
    tmp_path: Path, scenes: SceneFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "STAGES", STAGES)
    out = tmp_path / "model"
    threads = torch.get_num_threads()
    try:
        assert training.train_segmenter([tmp_path / "data"], tmp_path / "run", out) == 0
    finally:
        torch.set_num_threads(threads)
    segmenter = load_segmenter(SegmenterConfig(model=str(out), device="cpu"))
    card = load_card(str(out), "segmenter")
    assert (card.multimask, card.refine) == (False, "edges")
    found, masks = score_objects(segmenter, drawn_scene(0))
    assert len(masks) == 2
    assert {m.prompt for m in found} == {"box and point", "box"}
    training.export_run(tmp_path / "run", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_nothing_is_exported_from_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"state\.pt"):
        training.export_run(tmp_path, tmp_path / "out")


def test_the_measurement_is_the_iou_with_the_visible_object() -> None:
    found, masks = score_objects(ScriptedSegmenter("box", 0.25), drawn_scene(0))
    assert [m.iou for m in found] == [1.0] * 4
    assert found[0].score == 0.25
    assert masks[0].sum() == 400

"""Training of the decoder for single points."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from reasonseg_ros.engine.manifest import POINTS, read_manifest
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.resources import resource
from reasonseg_ros.segmenter.everything import Everything, EverythingOptions
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.segmenter.points import run as training
from reasonseg_ros.training.segmenter.points.evaluation import score_proposals
from reasonseg_ros.training.segmenter.run import Stage, train

STAGES = (Stage("start", 1, 512, 1, 3, 1e-4), Stage("points", 2, 512, 1, 3, 1e-4, restarts=True))


def test_each_point_has_the_object_under_it_and_background_nothing():
    ids = np.zeros((60, 80), np.uint8)
    ids[10:40, 10:40], ids[30:55, 50:75], ids[0:3, 0:3] = 1, 2, 3
    batch = training.point_batch((torch.zeros(1),) * 3, ids, 60, 512, np.random.default_rng(0))
    assert 30 < batch.is_object.sum() < 55
    for (x, y), target, is_object in zip(batch.coords[:, 0].numpy(), batch.targets, batch.is_object, strict=True):
        under = ids[int((y + 0.5) / 512 * 60), int((x + 0.5) / 512 * 80)]
        assert (under > 0) == bool(is_object) and under != 3  # too small to be learned
        area = 128 * 128 / (60 * 80) * (ids == under).sum() if is_object else 0
        assert target.sum().item() == pytest.approx(area, rel=0.05)
    assert training.point_batch((torch.zeros(1),) * 3, ids * 0, 4, 512, np.random.default_rng(0)) is None


def test_the_loss_wants_the_object_and_an_honest_score():
    targets = torch.zeros(2, 64, 64)
    targets[0, 16:48, 16:48] = 1
    right = torch.where(targets[:, ::4, ::4] > 0, 8.0, -8.0)
    is_object = torch.tensor([True, False])
    best, iou = training.point_loss(right, torch.tensor([1.0, 0.0]), targets, is_object)
    assert iou > 0.85
    shifted, _ = training.point_loss(right.roll(6, -1), torch.tensor([0.4, 0.0]), targets, is_object)
    boasting, _ = training.point_loss(right, torch.tensor([1.0, 1.0]), targets, is_object)
    assert best < 0.3 < shifted and boasting > best + 0.9
    # What is drawn for background does not matter as long as its score is 0.
    drawn = right.clone()
    drawn[1] = 8.0
    assert training.point_loss(drawn, torch.tensor([1.0, 0.0]), targets, is_object)[0] == pytest.approx(best.item())


def test_a_run_continues_and_adds_its_graph(scene_folder, tmp_path, capsys):
    export = tmp_path / "export"
    shutil.copytree(resource("models/tabletop/segmenter/onnx"), export)
    before = read_manifest(export)
    with pytest.raises(InvalidInput, match=r"no state\.pt"):
        training.export_points(tmp_path / "run", export)
    whole = training.PointRun(tmp_path / "whole", STAGES, 0, "tabletop-segmenter")
    assert train(whole, [SceneFiles(scene_folder)])
    first = training.PointRun(tmp_path / "run", STAGES, 0, "tabletop-segmenter")
    first.train_step(SceneFiles(scene_folder))
    first.save()
    again = training.PointRun(tmp_path / "run", STAGES, 0, "tabletop-segmenter")
    assert (again.stage_index, again.step) == (0, 1)
    assert train(again, [SceneFiles(scene_folder)])
    for one, two in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    training.publish_points(again, export)
    after = read_manifest(export, verify=True)
    assert {name: graph for name, graph in after.graphs.items() if name != POINTS} == {
        name: graph for name, graph in before.graphs.items() if name != POINTS
    }
    assert after.graphs[POINTS].sha256 != (before.graphs[POINTS].sha256 if POINTS in before.graphs else "")


def test_proposals_are_scored_against_every_clear_object(make_scene):
    options = EverythingOptions(grid_wh=(20, 16), min_stability=0.5, max_share=0.4)
    scene = make_scene(3)
    score = score_proposals(ScriptedSegmenter("box"), Everything(ScriptedSegmenter("box"), options), scene)
    assert len(score.best_ious) == len(scene.objects)
    colours = [item.color for item in scene.objects]
    for iou, colour in zip(score.best_ious, colours, strict=True):
        assert iou > 0.9 or colours.count(colour) > 1  # things of one colour are one thing to it
    assert score.proposals >= 1 and score.junk <= score.proposals and score.seconds > 0

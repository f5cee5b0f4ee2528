"""The tracker over exported graphs and over torch's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reasonseg_ros.config import config_from
from reasonseg_ros.engine.manifest import Manifest
from reasonseg_ros.export import official
from reasonseg_ros.export.sources import load_source
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.methods.tracking import load_tracker, torch_graphs
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.tracker import MemoryTracker
from reasonseg_ros.types import Grounding
from test.export.conftest import SIZE_PX, SMALL_HIERA

FRAMES = 12


def test_exported_graphs_follow_as_torch_does(
    exported: tuple[Path, Manifest], official_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, manifest = exported
    settings = {"segmenter.model": str(folder), "segmenter.refine": "none", "segmenter.device": "cpu"}
    config = config_from({**settings, "tracker.mode": "memory", "tracker.overlap": True})
    segmenter = load_segmenter(config.segmenter)
    monkeypatch.setitem(official._HIERA, (16, 5), SMALL_HIERA)
    model = load_source(str(official_checkpoint), SIZE_PX).model
    graphs = torch_graphs(model, SIZE_PX, manifest.multimask, torch.device("cpu"), torch.float32)
    assert manifest.memory is not None
    trackers = [
        load_tracker(config, segmenter)(),
        MemoryTracker(graphs, manifest.memory, SIZE_PX, lambda: config.tracker),
    ]

    rng = np.random.default_rng(4)
    scene = rng.uniform(0, 255, (8, 8, 3))
    boxes = np.array([[5, 6, 40, 44], [20, 12, 60, 58]], np.float32)
    for frame in range(FRAMES):
        scene = np.clip(scene + rng.normal(0, 12, scene.shape), 0, 255)
        features = segmenter.encode(np.ascontiguousarray(scene.repeat(8, 0).repeat(8, 1).astype(np.uint8)))
        found = [tracker.step(features, frame) for tracker in trackers]
        added = boxes[:1] if frame == 0 else boxes[1:] if frame == 3 else ()
        for tracks, tracker in zip(found, trackers, strict=True):
            tracks += tracker.add(features, [Grounding(box) for box in added], frame)
        for ours, theirs in zip(*found, strict=True):
            assert (ours.track_id, ours.state) == (theirs.track_id, theirs.state)
            assert mask_iou(ours.mask, theirs.mask) > 0.99
            assert ours.score == pytest.approx(theirs.score, abs=1e-3)

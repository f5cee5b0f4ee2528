from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reasonseg_ros.engine.accuracy import Reference, check_engine, picture, picture_boxes_xyxy
from reasonseg_ros.engine.manifest import read_manifest
from reasonseg_ros.engine.onnxruntime import load_onnxruntime
from reasonseg_ros.engine.port import Engine
from reasonseg_ros.errors import ModelError


@pytest.fixture
def reference(export: Path) -> Reference:
    return Reference(export, read_manifest(export), threads=1)


class Changed:
    """An engine whose output `name` is changed."""

    def __init__(self, engine: Engine, name: str, change) -> None:
        self.engine, self.output, self.change = engine, name, change
        self.largest, self.runtime = engine.largest, "an untrue engine"
        self.objects = []

    def run(self, inputs, keep=()):
        outputs = self.engine.run(inputs, keep)
        self.objects.append(len(outputs[next(iter(outputs))]))
        return {**outputs, self.output: self.change(outputs[self.output])}


def engine_of(export: Path, name: str) -> Engine:
    graph = read_manifest(export).graphs[name]
    return load_onnxruntime(export / graph.file, graph, name=name, threads=1)


@pytest.mark.parametrize("graph", ["encoder", "decoder"])
def test_an_engine_that_is_its_reference_passes(export: Path, reference: Reference, graph: str) -> None:
    figures = check_engine(engine_of(export, graph), graph, reference)
    assert set(figures.values()) <= {0.0, 1.0}
    assert ("mean_mask_iou" in figures) == (graph == "decoder")


@pytest.mark.parametrize(
    ("graph", "output", "change", "figure"),
    [
        ("encoder", "vision_feat", lambda value: value * 1.05, "vision_feat_error = 0.05"),
        ("encoder", "high_res_0", lambda value: value * np.nan, "high_res_0_error = inf"),
        ("decoder", "masks", lambda value: -value, "mean_mask_iou = "),
        ("decoder", "masks", lambda value: value * np.nan, "mean_mask_iou = 0"),
        ("decoder", "object_score", lambda value: value + 1, "object_score_error = "),
        ("decoder", "iou", lambda value: value[:1], "iou has shape"),
    ],
)
def test_an_engine_that_is_too_far_off_is_refused_with_its_numbers(
    export: Path, reference: Reference, graph: str, output: str, change, figure: str
) -> None:
    engine = Changed(engine_of(export, graph), output, change)
    with pytest.raises(ModelError, match=figure) as caught:
        check_engine(engine, graph, reference)
    assert "build the engine again" in str(caught.value) or "an untrue engine" in str(caught.value)


def test_small_differences_pass_and_are_reported(export: Path, reference: Reference) -> None:
    engine = Changed(engine_of(export, "encoder"), "vision_feat", lambda value: value * 1.001)
    assert check_engine(engine, "encoder", reference)["vision_feat_error"] == pytest.approx(0.001, rel=0.05)


def test_prompts_are_checked_alone_and_in_a_batch_that_the_engine_takes(export: Path, reference: Reference) -> None:
    engine = Changed(engine_of(export, "decoder"), "masks", lambda value: value)
    check_engine(engine, "decoder", reference)
    engine.largest = {"N": 5}
    check_engine(engine, "decoder", reference)
    assert engine.objects == [1, 8, 1, 5]


def test_the_picture_has_something_in_every_box() -> None:
    image, boxes = picture(128), picture_boxes_xyxy(128).round().astype(int)
    table = np.median(image.reshape(-1, 3), axis=0)
    assert image.shape == (128, 128, 3) and image.dtype == np.uint8
    for x1, y1, x2, y2 in boxes.tolist():
        centre = image[(y1 + y2) // 2, (x1 + x2) // 2].astype(float)
        assert np.abs(centre - table).max() > 20

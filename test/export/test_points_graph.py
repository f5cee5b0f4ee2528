"""The graph for points, added to an existing export."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from reasonseg_ros.engine.accuracy import Reference, check_engine
from reasonseg_ros.engine.manifest import POINTS, Manifest, file_sha256, read_manifest
from reasonseg_ros.engine.onnxruntime import load_onnxruntime
from reasonseg_ros.export import official
from reasonseg_ros.export.points import PointDecoder, add_points_graph
from reasonseg_ros.export.sources import load_source
from reasonseg_ros.geometry import mask_iou
from test.export.conftest import SIZE_PX, SMALL_HIERA


@pytest.fixture(scope="module")
def with_points(official_checkpoint: Path, exported: tuple[Path, Manifest], tmp_path_factory) -> Path:
    """A copy of the export whose graph for points is its decoder's own."""
    folder = tmp_path_factory.mktemp("points") / "graphs"
    shutil.copytree(exported[0], folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(official._HIERA, (16, 5), SMALL_HIERA)
        checkpoint = load_source(str(official_checkpoint), SIZE_PX)
    decoder = PointDecoder(checkpoint.model, SIZE_PX, exported[1].multimask, torch.float32)
    add_points_graph(decoder, checkpoint.model.hidden_dim, folder)
    return folder


def test_the_other_graphs_stay_as_they_are(with_points, exported):
    before, after = exported[1], read_manifest(with_points, verify=True)
    assert set(after.graphs) == {*before.graphs, POINTS}
    for name, graph in before.graphs.items():
        assert after.graphs[name] == graph and file_sha256(with_points / graph.file) == graph.sha256
    assert after.checks == before.checks
    assert not list(with_points.glob(".*"))


def test_its_weights_are_halves_and_its_masks_the_decoders(with_points):
    manifest = read_manifest(with_points)
    engines = {
        name: load_onnxruntime(with_points / manifest.graphs[name].file, manifest.graphs[name], name=name, threads=1)
        for name in ("decoder", POINTS)
    }
    inputs = Reference(with_points, manifest, threads=1).inputs(POINTS, 8)
    decoded, drawn = engines["decoder"].run(inputs), engines[POINTS].run(inputs)
    assert set(drawn) == {"masks", "iou"}
    ious = [mask_iou(one > 0, two > 0) for one, two in zip(decoded["masks"], drawn["masks"], strict=True)]
    assert np.mean(ious) > 0.97
    np.testing.assert_allclose(drawn["iou"], decoded["iou"], atol=0.02)
    sizes = {name: (with_points / manifest.graphs[name].file).stat().st_size for name in ("decoder", POINTS)}
    assert sizes[POINTS] < 0.65 * sizes["decoder"]
    kinds = [
        one.data_type for one in onnx.load(with_points / "points.onnx").graph.initializer if np.prod(one.dims) > 64
    ]
    assert onnx.TensorProto.FLOAT not in kinds


def test_engines_for_it_are_checked_like_the_others(with_points):
    manifest = read_manifest(with_points)
    graph = manifest.graphs[POINTS]
    engine = load_onnxruntime(with_points / graph.file, graph, name=POINTS, threads=1)
    figures = check_engine(engine, POINTS, Reference(with_points, manifest, threads=1))
    assert figures["mean_mask_iou"] == 1

"""Adds the graph for everything mode, which decodes single points, to an existing export."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from reasonseg_ros.engine.manifest import POINTS, read_manifest, write_manifest
from reasonseg_ros.export import graphs
from reasonseg_ros.export.decoder import Decoder

_SMALL = 64
"""Constants with fewer elements stay float32."""


class PointDecoder(Decoder):
    """A `Decoder` that only outputs the mask and its predicted IoU."""

    def forward(
        self, image_embed: Tensor, high_res_0: Tensor, high_res_1: Tensor, point_coords: Tensor, point_labels: Tensor
    ) -> tuple[Tensor, ...]:
        return super().forward(image_embed, high_res_0, high_res_1, point_coords, point_labels)[:2]


def add_points_graph(decoder: PointDecoder, channels: int, folder: Path) -> None:
    """Write `points.onnx` into an export's folder and add it to the manifest. The other graphs are not changed.

    The weights are stored as float16; computation is in float32.
    """
    manifest = read_manifest(folder, verify=True)
    unfinished = folder / f".{POINTS}.onnx"
    try:
        graphs.write_point_decoder(decoder, channels, unfinished)
        store_half(unfinished)
        described = replace(graphs.describe(unfinished), file=f"{POINTS}.onnx")
        os.replace(unfinished, folder / described.file)
    finally:
        unfinished.unlink(missing_ok=True)
    write_manifest(replace(manifest, graphs={**manifest.graphs, POINTS: described}), folder)


def store_half(path: Path) -> None:
    """Store the float32 weights of an ONNX file as float16, each followed by a cast; runtimes fold the casts."""
    model = onnx.load(path)
    kept, casts = [], []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < _SMALL:
            kept.append(weight)
            continue
        half = f"{weight.name}_half"
        kept.append(numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [weight.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)

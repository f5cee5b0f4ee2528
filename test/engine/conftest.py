"""A synthetic segmenter of two graphs that is made quickly: 32 px, 32 channels, random weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from reasonseg_ros.engine.manifest import Graph, Manifest, Tensor, file_sha256, write_manifest

SIZE_PX = 32
FEATURES = (
    Tensor("image_embed", "float32", (1, 32, 2, 2)),
    Tensor("high_res_0", "float32", (1, 4, 8, 8)),
    Tensor("high_res_1", "float32", (1, 8, 4, 4)),
    Tensor("vision_feat", "float32", (1, 32, 2, 2)),
)
PROMPTS = (Tensor("point_coords", "float32", ("N", "P", 2)), Tensor("point_labels", "int32", ("N", "P")))
MASKS = (
    Tensor("masks", "float32", ("N", 1, 8, 8)),
    Tensor("iou", "float32", ("N", 1)),
    Tensor("object_score", "float32", ("N", 1)),
)
GRAPHS = {
    "encoder": Graph("encoder.onnx", "", (Tensor("image", "uint8", (1, SIZE_PX, SIZE_PX, 3)),), FEATURES),
    "decoder": Graph(
        "decoder.onnx", "", (replace(FEATURES[0], shape=("N", 32, 2, 2)), *FEATURES[1:3], *PROMPTS), MASKS
    ),
}
NODES = {
    "encoder": """
        number = Cast <to = 1> (image)
        pixels = Transpose <perm = [0, 3, 1, 2]> (number)
        small = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (pixels)
        high_res_0 = Conv <kernel_shape = [1, 1]> (small, to_4)
        half = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (small)
        high_res_1 = Conv <kernel_shape = [1, 1]> (half, to_8)
        quarter = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (half)
        vision_feat = Conv <kernel_shape = [1, 1]> (quarter, to_32)
        image_embed = Relu (vision_feat)
    """,
    "decoder": """
        coarse = ReduceMean <keepdims = 1> (image_embed, over_channels)
        offset = ReduceMean <keepdims = 1> (coarse, over_pixels)
        fine = ReduceMean <keepdims = 1> (high_res_0, over_channels)
        other = ReduceMean <keepdims = 0> (high_res_1)
        label_number = Cast <to = 1> (point_labels)
        label = ReduceMax <keepdims = 1> (label_number, over_channels)
        nearness = ReduceMean <keepdims = 0> (point_coords, over_points)
        row = Unsqueeze (nearness, over_channels)
        score = Add (label, row)
        iou = Sigmoid (row)
        object_score = Add (score, other)
        shift = Unsqueeze (score, over_pixels)
        moved = Sub (fine, shift)
        shaded = Sub (moved, offset)
        masks = Add (shaded, shift)
    """,
}
WEIGHTS = {
    "encoder": ("to_4", "to_8", "to_32"),
    "decoder": ("over_channels", "over_pixels", "over_points"),
}


def write_graph(path: Path, name: str, graph: Graph) -> None:
    def written(tensors: tuple[Tensor, ...]) -> str:
        kinds = {"float32": "float", "float16": "float16", "uint8": "uint8", "int32": "int32"}
        return ", ".join(f"{kinds[t.dtype]}[{','.join(map(str, t.shape))}] {t.name}" for t in tensors)

    text = f'<ir_version: 9, opset_import: ["": 18]> {name} ({written(graph.inputs)}) => ({written(graph.outputs)})'
    model = onnx.parser.parse_model(text + "{" + NODES[name] + "}")
    rng = np.random.default_rng(3)
    axes = {"over_channels": [1], "over_pixels": [2, 3], "over_points": [1, 2]}
    for weight in WEIGHTS[name]:
        if weight in axes:
            values = np.array(axes[weight], np.int64)
        else:
            values = rng.normal(0, 0.02, (int(weight.removeprefix("to_")), 3, 1, 1)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, weight))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder, with the manifest."""
    folder = tmp_path_factory.mktemp("export")
    graphs = {}
    for name, graph in GRAPHS.items():
        write_graph(folder / graph.file, name, graph)
        graphs[name] = replace(graph, sha256=file_sha256(folder / graph.file))
    manifest = Manifest("made-up", "nowhere", "0" * 64, "sam2", SIZE_PX, 32, "fp32", False, 18, graphs)
    write_manifest(manifest, folder)
    return folder

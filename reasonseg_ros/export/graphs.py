"""Writes torch modules to ONNX files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from reasonseg_ros.engine import manifest
from reasonseg_ros.errors import ModelError
from reasonseg_ros.export.activation import replace_gelu
from reasonseg_ros.export.decoder import Decoder
from reasonseg_ros.export.encoder import Encoder
from reasonseg_ros.export.memory import MemoryAttention, MemoryEncoder
from reasonseg_ros.export.operators import operators_read_once

OPSET = 18
"""The newest opset that ONNX Runtime and TensorRT 10 and 11 all read without conversion."""

_OBJECTS = {0: torch.export.Dim("N")}
_PROMPTS = {0: _OBJECTS[0], 1: torch.export.Dim("P")}


def write_encoder(model: nn.Module, size_px: int, dtype: torch.dtype, path: Path) -> manifest.Graph:
    image = torch.zeros(1, size_px, size_px, 3, dtype=torch.uint8)
    outputs = ("image_embed", "high_res_0", "high_res_1", "vision_feat")
    return write_module(Encoder(model, size_px, dtype), {"image": (image, {})}, outputs, path)


def write_decoder(model: nn.Module, size_px: int, multimask: bool, dtype: torch.dtype, path: Path) -> manifest.Graph:
    decoder = Decoder(model, size_px, multimask, dtype)
    outputs = ("masks", "iou", "object_score") + (("object_pointer",) if decoder.has_memory else ())
    return write_module(decoder, _prompt_inputs(model.hidden_dim, size_px, dtype), outputs, path)


def write_point_decoder(decoder: Decoder, channels: int, path: Path) -> manifest.Graph:
    """The graph `points` of a `points.PointDecoder`."""
    return write_module(decoder, _prompt_inputs(channels, decoder.size_px, decoder.dtype), ("masks", "iou"), path)


def _prompt_inputs(channels: int, size_px: int, dtype: torch.dtype) -> dict[str, tuple[Tensor, Mapping[int, object]]]:
    side, objects, points = size_px // 16, 2, 3
    return {
        "image_embed": (torch.zeros(objects, side * side, channels, dtype=dtype), _OBJECTS),
        "high_res_0": (torch.zeros(1, 4 * side * side, channels // 2, dtype=dtype), {}),
        "high_res_1": (torch.zeros(1, side * side, channels, dtype=dtype), {}),
        "point_coords": (torch.zeros(objects, points, 2), _PROMPTS),
        "point_labels": (torch.zeros(objects, points, dtype=torch.int32), _PROMPTS),
    }


def write_memory_attention(model: nn.Module, size_px: int, dtype: torch.dtype, path: Path) -> manifest.Graph:
    side, objects, sizes = size_px // 16, 2, memory_sizes(model)
    inputs = {
        "vision_feat": (torch.zeros(1, model.hidden_dim, side, side, dtype=dtype), {}),
        "mem_feat": (torch.zeros(objects, sizes.slots, side * side, sizes.channels, dtype=dtype), _OBJECTS),
        "mem_slot": (torch.zeros(objects, sizes.slots, dtype=torch.int32), _OBJECTS),
        "obj_ptr": (torch.zeros(objects, sizes.pointers, model.hidden_dim, dtype=dtype), _OBJECTS),
        "ptr_dt": (torch.zeros(objects, sizes.pointers), _OBJECTS),
    }
    return write_module(MemoryAttention(model, size_px, dtype), inputs, ("image_embed",), path)


def write_memory_encoder(model: nn.Module, size_px: int, dtype: torch.dtype, path: Path) -> manifest.Graph:
    side, objects = size_px // 16, 2
    inputs = {
        "vision_feat": (torch.zeros(1, model.hidden_dim, side, side, dtype=dtype), {}),
        "masks": (torch.zeros(objects, 1, 4 * side, 4 * side), _OBJECTS),
        "object_score": (torch.zeros(objects, 1), _OBJECTS),
        "prompted": (torch.zeros(objects), _OBJECTS),
    }
    return write_module(MemoryEncoder(model, size_px, dtype), inputs, ("mem_feat",), path)


def memory_sizes(model: nn.Module) -> manifest.Memory:
    """Sizes of the memory of a model that has one."""
    return manifest.Memory(model.num_maskmem, model.config.max_object_pointers_in_encoder, model.mem_dim)


def describe(path: Path) -> manifest.Graph:
    """The manifest's entry for an ONNX file: name, digest, inputs and outputs."""
    graph = onnx.load(path).graph
    tensors = (tuple(_tensor(value) for value in values) for values in (graph.input, graph.output))
    return manifest.Graph(path.name, manifest.file_sha256(path), *tensors)


def _tensor(value: onnx.ValueInfoProto) -> manifest.Tensor:
    kind = value.type.tensor_type
    shape = tuple(size.dim_param or size.dim_value for size in kind.shape.dim)
    return manifest.Tensor(value.name, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name, shape)


def write_module(
    module: nn.Module, inputs: Mapping[str, tuple[Tensor, Mapping[int, object]]], outputs: Sequence[str], path: Path
) -> manifest.Graph:
    """Export a module to `path`. Each input is an example and its free dimensions. Raises ModelError."""
    examples = tuple(example for example, _ in inputs.values())
    free = tuple(dict(sizes) for _, sizes in inputs.values())
    replace_gelu(module)
    try:
        with _silence(), operators_read_once(), torch.no_grad():
            torch.onnx.export(
                module.eval().requires_grad_(False), examples, str(path),
                input_names=list(inputs), output_names=list(outputs), dynamic_shapes=free,
                opset_version=OPSET, dynamo=True, external_data=False, verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        raise ModelError(
            f"torch {torch.__version__} cannot write the {path.stem}: {cause}; try another size"
        ) from error
    _strip(path)
    return describe(path)


def _strip(path: Path) -> None:
    """Remove the exporter's debugging data, mostly stack traces. It would be a tenth of a small model."""
    model = onnx.load(path)
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for item in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        item.doc_string = ""
        del item.metadata_props[:]
    onnx.save(model, path)


@contextmanager
def _silence() -> Iterator[None]:
    """Hides the exporter's warnings, which are about torch's own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

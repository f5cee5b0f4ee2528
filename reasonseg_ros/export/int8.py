"""Eight-bit weights for the CPU: products over the image's pixels in int8, what decides between masks in float32.

Activations are scaled as they come (dynamic quantisation), so that no images are needed for calibration.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata


def quantize(path: Path) -> None:
    """Replace the graph in `path` by its quantised form.

    Only matrix products with a fixed weight over a fixed number of rows are quantised: those are over pixels, where
    nearly all of the time goes. The rows of prompts (mask tokens, predicted IoU, the weights that draw the masks)
    vary with the prompt. They stay float32, as do convolutions: quantised, they flip the choice of the mask.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*model.graph.value_info, *model.graph.input)}
    weights = {tensor.name for tensor in model.graph.initializer}
    chosen = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in weights and _has_fixed_rows(shapes.get(node.input[0], ()))
    ]
    add_pre_process_metadata(model)  # shapes are inferred, which is all that it asks for
    shaped = path.with_suffix(".shaped.onnx")
    onnx.save(model, shaped)
    quantize_dynamic(
        shaped, path, op_types_to_quantize=["MatMul"], nodes_to_quantize=chosen, per_channel=True,
        # Seven bits: processors without VNNI add pairs of products in 16 bits, which eight would overflow.
        reduce_range=True, weight_type=QuantType.QInt8,
    )  # fmt: skip
    shaped.unlink()


def _has_fixed_rows(shape: object) -> bool:
    sizes = list(shape)
    return len(sizes) > 2 and sizes[-2].HasField("dim_value")

"""The graphs of a Qwen2.5-VL checkpoint, made of ONNX Runtime's fused operators.

One text graph reads whole prompts, the ends of prompts whose beginning is cached, and single tokens.
GroupQueryAttention appends keys and values to the caller's cache. It looks up rotations by cache slot, so the positions
of an image's tokens are rows of a table. Weights are not copied: the graphs refer to their offsets in the safetensors
files. See `reasoner.onnx.manifest` for inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from reasonseg_ros.errors import ModelError
from reasonseg_ros.reasoner.export.stored_weights import StoredWeight

CONTRIB = "com.microsoft"
OPSETS = [helper.make_opsetid("", 18), helper.make_opsetid(CONTRIB, 1)]
_TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16}


class GraphBuilder:
    """Collects nodes and initializers. Methods return the name of a value."""

    def __init__(self, weights: Mapping[str, StoredWeight]) -> None:
        self.weights = weights
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._made: dict[str, str] = {}

    def node(self, operator: str, inputs: Sequence[str], domain: str = "", output: str = "", **values: Any) -> str:
        """Adds an operator with one output."""
        return self.nodes(operator, inputs, [output or f"{operator}_{len(self._nodes)}"], domain, **values)[0]

    def nodes(
        self, operator: str, inputs: Sequence[str], outputs: list[str], domain: str = "", **values: Any
    ) -> list[str]:
        """Adds an operator with these outputs; an empty name leaves one out."""
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), outputs, domain=domain, name=name, **values))
        return outputs

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self._initializers.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weight(self, name: str) -> str:
        """A stored weight as float32. Raises ModelError if the checkpoint lacks it."""
        if name in self._made:
            return self._made[name]
        stored = self.weights.get(name)
        if stored is None or stored.dtype not in _TYPES:
            what = "is missing" if stored is None else f"is of type {stored.dtype}"
            raise ModelError(f"weight {name} {what}; expected a Qwen2.5-VL checkpoint of float numbers")
        tensor = TensorProto(name=name, data_type=_TYPES[stored.dtype], dims=stored.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", stored.file), ("offset", stored.offset), ("length", stored.length)):
            tensor.external_data.add(key=key, value=str(value))
        self._initializers[name] = tensor
        is_float = stored.dtype == "F32"
        self._made[name] = name if is_float else self.node("Cast", [name], to=TensorProto.FLOAT)
        return self._made[name]

    def linear(self, value: str, *names: str, bias: bool) -> str:
        """The layers `names`, outputs concatenated. Weights are transposed once, when the graph is loaded."""
        matrices = [self.weight(f"{name}.weight") for name in names]
        joined = matrices[0] if len(names) == 1 else self.node("Concat", matrices, axis=0)
        found = self.node("MatMul", [value, self.node("Transpose", [joined], perm=[1, 0])])
        if not bias:
            return found
        biases = [self.weight(f"{name}.bias") for name in names]
        return self.node("Add", [found, biases[0] if len(names) == 1 else self.node("Concat", biases, axis=0)])

    def feed_forward(self, value: str, prefix: str, width: int, bias: bool) -> str:
        """The gated layer: down(silu(gate(x)) * up(x))."""
        both = self.linear(value, f"{prefix}.gate_proj", f"{prefix}.up_proj", bias=bias)
        sizes = self.constant(f"split_{width}", np.array([width, width], np.int64))
        gate, up = self.nodes("Split", [both, sizes], [f"{prefix}.gate", f"{prefix}.up"], axis=-1)
        # With alpha 1 the operator is x * sigmoid(x).
        active = self.node("QuickGelu", [gate], CONTRIB, alpha=1.0)
        return self.linear(self.node("Mul", [active, up]), f"{prefix}.down_proj", bias=bias)

    def norm(self, value: str, weight: str, epsilon: float) -> str:
        """Root mean square normalisation."""
        inputs = [value, self.weight(weight)]
        return self.node("SimplifiedLayerNormalization", inputs, axis=-1, epsilon=epsilon, stash_type=1)

    def added_norm(self, value: str, added: str, weight: str, epsilon: float, output: str = "") -> tuple[str, str]:
        """The normalised sum of two values, and the sum."""
        names = [output or f"{weight}.normed", "", "", f"{weight}.sum"]
        inputs = [value, added, self.weight(weight)]
        normed, _, _, total = self.nodes("SkipSimplifiedLayerNormalization", inputs, names, CONTRIB, epsilon=epsilon)
        return normed, total

    def save(self, path: Path, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        graph = helper.make_graph(self._nodes, path.stem, inputs, outputs, list(self._initializers.values()))
        onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=9), path)


def vision_graph(path: Path, config: Any, weights: Mapping[str, StoredWeight]) -> None:
    """Write the vision graph of a `Qwen2_5_VLConfig`."""
    builder, vision = GraphBuilder(weights), config.vision_config
    prefix = "model.visual" if "model.visual.patch_embed.proj.weight" in weights else "visual"
    width, heads, merge = vision.hidden_size, vision.num_heads, vision.spatial_merge_size
    half, size = width // heads // 2, vision.in_channels * vision.patch_size**2
    windows = [index for index in range(vision.depth) if index not in vision.fullatt_block_indexes]

    # An image is shown as a video of two equal frames, so the two halves of the kernel can be added.
    kernel = builder.weight(f"{prefix}.patch_embed.proj.weight")
    axis = builder.constant("time_axis", np.array([2], np.int64))
    flat = builder.node("Reshape", [
        builder.node("ReduceSum", [kernel, axis], keepdims=0),
        builder.constant("kernel_shape", np.array([width, size], np.int64)),
    ])  # fmt: skip
    value = builder.node("MatMul", ["patches", builder.node("Transpose", [flat], perm=[1, 0])])
    value = builder.node("Unsqueeze", [value, builder.constant("batch_axis", np.array([0], np.int64))])
    count = builder.node("Gather", [builder.node("Shape", ["cos"]), builder.constant("first", np.array(0, np.int64))])
    numbers = [builder.constant("zero", np.array(0, np.int64)), count, builder.constant("one", np.array(1, np.int64))]
    places = builder.node("Unsqueeze", [builder.node("Range", numbers), "batch_axis"])

    thirds = builder.constant("thirds", np.array([width] * 3, np.int64))
    added = ""
    for index in range(vision.depth):
        block = f"{prefix}.blocks.{index}"
        if added:
            normed, value = builder.added_norm(value, added, f"{block}.norm1.weight", 1e-6)
        else:
            normed = builder.norm(value, f"{block}.norm1.weight", 1e-6)
        joined = builder.linear(normed, f"{block}.attn.qkv", bias=True)
        parts = builder.nodes("Split", [joined, thirds], [f"{block}.{name}" for name in "qkv"], axis=-1)
        turned = [builder.node("RotaryEmbedding", [part, places, "cos", "sin"], CONTRIB, num_heads=heads)
                  for part in parts[:2]]  # fmt: skip
        mask = ["", "", "window"] if index in windows else []
        seen = builder.node("MultiHeadAttention", [*turned, parts[2], *mask], CONTRIB, num_heads=heads)
        seen = builder.linear(seen, f"{block}.attn.proj", bias=True)
        normed, value = builder.added_norm(value, seen, f"{block}.norm2.weight", 1e-6)
        added = builder.feed_forward(normed, f"{block}.mlp", vision.intermediate_size, bias=True)
    normed, _ = builder.added_norm(value, added, f"{prefix}.merger.ln_q.weight", 1e-6)
    merged = builder.node("Reshape", [normed, builder.constant("merged", np.array([-1, merge**2 * width], np.int64))])
    active = builder.node("Gelu", [builder.linear(merged, f"{prefix}.merger.mlp.0", bias=True)], CONTRIB)
    features = builder.linear(active, f"{prefix}.merger.mlp.2", bias=True)
    builder.node("Identity", [features], output="features")

    inputs = [_value("patches", ["N", size]), _value("cos", ["N", half]), _value("sin", ["N", half])]
    if windows:
        inputs.append(_value("window", [1, 1, "N", "N"]))
    builder.save(path, inputs, [_value("features", ["M", vision.out_hidden_size])])


def attention_layers(config: Any) -> tuple[int, ...]:
    """Layers whose attention shows what an answer looks at: from the middle to the last."""
    layers = config.text_config.num_hidden_layers
    return tuple(range(layers // 2, layers))


def text_graph(path: Path, config: Any, weights: Mapping[str, StoredWeight]) -> None:
    """Write the text graph of a `Qwen2_5_VLConfig`."""
    builder, text = GraphBuilder(weights), config.text_config
    prefix = "model.language_model" if "model.language_model.embed_tokens.weight" in weights else "model"
    width, heads, kv_heads = text.hidden_size, text.num_attention_heads, text.num_key_value_heads
    size, epsilon = width // heads, text.rms_norm_eps
    cache = [1, kv_heads, "C", size]
    inputs = [
        _value("ids", [1, "L"], TensorProto.INT64), _value("image_at", ["M", 2], TensorProto.INT64),
        _value("features", ["M", width]), _value("seqlens_k", [1], TensorProto.INT32),
        _value("total", [1], TensorProto.INT32), _value("cos", ["C", size // 2]), _value("sin", ["C", size // 2]),
    ]  # fmt: skip
    outputs = [_value("logits", [1, text.vocab_size]), _value("hidden", [1, width])]

    last = builder.constant("last", np.array([-1], np.int64))
    ends = [builder.constant(name, np.array([value], np.int64))
            for name, value in (("from_first", 0), ("to_keys", heads * size), ("states_axis", 2))]  # fmt: skip
    embedding = builder.weight(f"{prefix}.embed_tokens.weight")
    value = builder.node("ScatterND", [builder.node("Gather", [embedding, "ids"]), "image_at", "features"])
    added = ""
    for index in range(text.num_hidden_layers):
        layer = f"{prefix}.layers.{index}"
        if added:
            normed, value = builder.added_norm(value, added, f"{layer}.input_layernorm.weight", epsilon)
        else:
            normed = builder.norm(value, f"{layer}.input_layernorm.weight", epsilon)
        joined = builder.linear(normed, *(f"{layer}.self_attn.{name}_proj" for name in "qkv"), bias=True)
        if index in attention_layers(config):
            builder.node("Slice", [builder.node("Gather", [joined, last], axis=1), *ends], output=f"query_{index}")
            outputs.append(_value(f"query_{index}", [1, 1, heads * size]))
        past = [f"past_key_{index}", f"past_value_{index}"]
        seen, *_ = builder.nodes(
            "GroupQueryAttention", [joined, "", "", *past, "seqlens_k", "total", "cos", "sin"],
            [f"{layer}.seen", f"key_{index}", f"value_{index}"], CONTRIB,
            num_heads=heads, kv_num_heads=kv_heads, do_rotary=1, rotary_interleaved=0,
        )  # fmt: skip
        inputs += [_value(name, cache) for name in past]
        outputs += [_value(f"{name}_{index}", cache) for name in ("key", "value")]
        seen = builder.linear(seen, f"{layer}.self_attn.o_proj", bias=False)
        normed, value = builder.added_norm(value, seen, f"{layer}.post_attention_layernorm.weight", epsilon)
        added = builder.feed_forward(normed, f"{layer}.mlp", text.intermediate_size, bias=False)
    flat = builder.constant("flat", np.array([1, width], np.int64))
    value, added = (builder.node("Reshape", [builder.node("Gather", [one, last], axis=1), flat])
                    for one in (value, added))  # fmt: skip
    hidden, _ = builder.added_norm(value, added, f"{prefix}.norm.weight", epsilon, output="hidden")
    head = builder.weight("lm_head.weight") if "lm_head.weight" in weights else embedding
    builder.node("Gemm", [hidden, head], output="logits", transB=1)
    builder.save(path, inputs, outputs)


def _value(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)

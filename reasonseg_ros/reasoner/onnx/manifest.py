"""An exported reasoner: `vision.onnx`, `text.onnx`, and `graphs.json`, which describes them.

The graphs, with N patches, M = N / 4 image tokens, L tokens read at once, C slots of the cache, and D the text's width:

- `vision`: patches float32 [N, 588], cos and sin float32 [N, head size / 2], window float32 [1, 1, N, N] (0 if two
  patches see each other, else a large negative number; only if the checkpoint has windows) -> features float32 [M, D].
- `text`: ids int64 [1, L], image_at int64 [M, 2] (the places of the features, rows of [0, place]), features, seqlens_k
  int32 [1] and total int32 [1] (last slot, and slots in use, after this run), cos and sin float32 [C, head size / 2]
  (of every slot), past_key_i and past_value_i float32 [1, heads, C, head size] -> logits float32 [1, vocabulary] and
  hidden float32 [1, D] of the last token, key_i and value_i (the same memory as the past ones), and for each of the
  manifest's `attention_layers` query_i float32 [1, 1, heads * head size] of the last token, before its rotation. With
  the keys they give its attention.

A float32 export holds no weights: its graphs refer to `model.safetensors` beside them, so the files stay together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from reasonseg_ros.engine.manifest import file_sha256
from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.documents import UnreadableDocument, read_json_document, short_repr

FILE_NAME = "graphs.json"
VISION, TEXT = "vision.onnx", "text.onnx"
TOKENIZER, TEMPLATE = "tokenizer.json", "chat_template.jinja"
VERSION = 1
PRECISIONS = ("fp32", "int8", "int4")
REMEDY = "export it again with `reasonseg export reasoner`"
_MAX_SIZE = 1 << 20
_MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class TextShape:
    """Sizes of the text model. `sections` are those of the multimodal rotary embedding, in halves of a head."""

    layers: int
    kv_heads: int
    head_size: int
    width: int
    vocabulary: int
    rope_theta: float
    sections: tuple[int, ...]
    longest: int


@dataclass(frozen=True)
class VisionShape:
    """Sizes of the vision model. `window_px` 0: every patch sees every other one."""

    head_size: int
    patch_px: int
    merge: int
    window_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class ReasonerManifest:
    """One exported reasoner.

    Attributes:
        name: of the model card.
        files: SHA-256 of each file that the graphs need, by name.
        image_token, end_tokens: ids.
        repetition_penalty: of the checkpoint's generation settings.
        min_pixels, max_pixels: limits to which images are resized.
        attention_layers: layers whose queries the text graph outputs; none in exports of earlier versions.
        libraries: versions of the libraries that made the export, by name.
        checks: measurements of the export's check.
    """

    name: str
    precision: str
    text: TextShape
    vision: VisionShape
    files: Mapping[str, str]
    image_token: int
    end_tokens: tuple[int, ...]
    repetition_penalty: float
    min_pixels: int
    max_pixels: int
    attention_layers: tuple[int, ...] = ()
    libraries: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        def need(right: bool, key: str, value: Any, expected: str) -> None:
            if not right:
                raise ModelError(f"{key} = {short_repr(value)}; expected {expected}")

        need(self.version == VERSION, "version", self.version, f"{VERSION}, which this package reads")
        need(self.precision in PRECISIONS, "precision", self.precision, f"one of {', '.join(PRECISIONS)}")
        for group in (self.text, self.vision):
            for item in fields(group):
                value = getattr(group, item.name)
                if item.type == "int":
                    least = 0 if item.name == "window_px" else 1
                    fits = type(value) is int and least <= value <= _MAX_SIZE
                    need(fits, item.name, value, f"a whole number from {least} to {_MAX_SIZE}")
        need({VISION, TEXT, TOKENIZER, TEMPLATE} <= set(self.files), "files", sorted(self.files), "the graphs' files")
        need(all(Path(name).name == name for name in self.files), "files", sorted(self.files), "names in the folder")
        need(2 * sum(self.text.sections) == self.text.head_size, "sections", self.text.sections, "half a head")
        # The graphs of other precisions hold their weights.
        are_stored = self.precision != "fp32" or any(name.endswith(".safetensors") for name in self.files)
        need(are_stored, "files", sorted(self.files), "the checkpoint's weights too, which the graphs read")
        need(bool(self.end_tokens), "end_tokens", self.end_tokens, "at least one")
        are_ids = all(
            type(one) is int and 0 <= one < self.text.vocabulary for one in (*self.end_tokens, self.image_token)
        )
        need(are_ids, "tokens", (self.image_token, *self.end_tokens), f"ids below {self.text.vocabulary}")
        penalty, limits = self.repetition_penalty, (self.min_pixels, self.max_pixels)
        fits = isinstance(penalty, (int, float)) and 0 < penalty < math.inf
        need(fits, "repetition_penalty", penalty, "a number above 0")
        fits = all(type(one) is int for one in limits) and 0 < limits[0] <= limits[1] <= _MAX_PIXELS
        need(fits, "min_pixels, max_pixels", limits, f"whole numbers up to {_MAX_PIXELS}, the least first")
        colours = self.vision.mean, self.vision.std
        fits = all(len(one) == 3 and all(map(math.isfinite, one)) for one in colours) and min(self.vision.std) > 0
        need(fits, "mean, std", colours, "three numbers each, std above 0")
        are_layers = all(0 <= layer < self.text.layers for layer in self.attention_layers)
        need(are_layers, "attention_layers", self.attention_layers, f"layers from 0 to {self.text.layers - 1}")


def write_reasoner_manifest(manifest: ReasonerManifest, folder: Path) -> None:
    """Write `graphs.json` into `folder`."""
    (folder / FILE_NAME).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")


def read_reasoner_manifest(folder: Path) -> ReasonerManifest:
    """Raises ModelError if it is missing or damaged, or if a file is not the one that was exported."""
    path = folder / FILE_NAME
    try:
        values = read_json_document(path)
        text, vision = dict(values.pop("text")), dict(values.pop("vision"))
        text["sections"] = tuple(text["sections"])
        vision |= {name: tuple(float(one) for one in vision[name]) for name in ("mean", "std")}
        values["end_tokens"] = tuple(int(token) for token in values["end_tokens"])
        values["attention_layers"] = tuple(int(layer) for layer in values.get("attention_layers", ()))
        manifest = ReasonerManifest(text=TextShape(**text), vision=VisionShape(**vision), **values)
    except ModelError as error:
        raise ModelError(f"{path}: {error}; {REMEDY}") from error
    except (UnreadableDocument, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); {REMEDY}") from error
    for name, digest in manifest.files.items():
        try:
            is_same = file_sha256(folder / name) == digest
        except OSError as error:
            raise ModelError(f"{folder / name} cannot be read: {error.strerror}; {REMEDY}") from error
        if not is_same:
            raise ModelError(f"{folder / name} is not the file that was exported; {REMEDY}")
    return manifest

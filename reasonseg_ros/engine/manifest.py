"""An exported segmenter's folder: one ONNX file per graph, and `manifest.json`, which describes them.

The graphs, with S the side of the square image in pixels, h = S / 16, C channels and N objects:

- `encoder`: image uint8 [1, S, S, 3] -> image_embed [1, h*h, C], high_res_0 [1, 4*h*h, C/2], high_res_1 [1, h*h, C]
  (all three grouped by the pixels of the coarsest map, `export.layout`), vision_feat [1, C, h, h] (the coarsest map
  without the no-memory embedding, for SAM2's memory).
- `decoder`: image_embed [N, h*h, C], high_res_0, high_res_1 as above, point_coords float32 [N, P, 2] in pixels of the
  square, point_labels int32 [N, P] (0 outside, 1 inside, 2 and 3 a box's corners, -1 the padding point that SAM2 adds
  to every prompt, -10 ignored; a tracked frame has no prompt, which is two padding points) -> masks float32
  [N, 1, 4h, 4h] logits, iou [N, 1], object_score [N, 1] (below 0: not in the image, regardless of the mask), and, for
  a checkpoint with memory, object_pointer [N, C].
- `memory_attention`: vision_feat, mem_feat [N, slots, h*h, D], mem_slot int32 [N, slots] (index of the temporal
  encoding, -1 empty), obj_ptr [N, pointers, C], ptr_dt float32 [N, pointers] (frames ago, below 0 empty)
  -> image_embed [N, h*h, C].
- `memory_encoder`: vision_feat, masks [N, 1, 4h, 4h] logits, object_score [N, 1], prompted float32 [N] (1 if the
  mask answers a prompt) -> mem_feat [N, h*h, D].
- `points`, optional: a decoder trained on single points, for everything mode (`segmenter.everything`) of a checkpoint
  whose own decoder needs boxes. Inputs as `decoder` -> masks and iou as `decoder`; the iou is 0 on background.

A float32 or int8 export passes features as float32, a float16 export as float16; each tensor's type is in the manifest.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.documents import UnreadableDocument, read_json_document, short_repr

FILE_NAME = "manifest.json"
EXPORT_VERSION = 1
"""Increased when the graphs change their meaning; folders of other versions must be exported again."""

ARCHITECTURES = ("sam2", "edgetam")
PRECISIONS = ("fp32", "fp16", "int8")
IMAGE_GRAPHS = ("encoder", "decoder")
MEMORY_GRAPHS = ("memory_attention", "memory_encoder")
POINTS = "points"

MAX_SIZE = 4096
"""Maximum of an image's side in pixels, and of channels. Published checkpoints have at most 1024 and 1152."""
MAX_TENSOR_BYTES = 1 << 32
"""Maximum size of an input or output for one object, as an engine allocates it before the file is validated."""
SETTLED_NS = 1_000_000_000
"""Only digests of files that have not changed for this long are cached."""
_SCORES_BYTES = 1 << 29
_REMEDY = "export the checkpoint again with `reasonseg export segmenter`"


@dataclass(frozen=True)
class Tensor:
    """One input or output. `dtype` is numpy's name. A symbol in `shape` (N objects, P points) is a free dimension."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """`file` is a name in the manifest's folder, `sha256` the digest of its content."""

    file: str
    sha256: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Memory:
    """Sizes of the tracker's memory: masks and object pointers per object, channels D of a mask's memory."""

    slots: int
    pointers: int
    channels: int

    @property
    def is_sound(self) -> bool:
        return all(type(size) is int and 0 < size <= MAX_SIZE for size in (self.slots, self.pointers, self.channels))


@dataclass(frozen=True)
class Manifest:
    """One exported segmenter.

    Attributes:
        name: of the model card.
        source: origin of the weights as given: card, folder, hub id or file.
        weights_sha256: digest of the weights, to detect an export of other weights.
        size_px: side S of the square image.
        channels: C.
        multimask: the decoder selects the best of three masks; without it, the single mask.
        memory: None without the memory graphs.
        libraries: versions of the libraries that made the export, by name.
        checks: accuracy against the checkpoint, measured at export: mean and minimum IoU of masks, and the required
            mean.
    """

    name: str
    source: str
    weights_sha256: str
    architecture: str
    size_px: int
    channels: int
    precision: str
    multimask: bool
    opset: int
    graphs: Mapping[str, Graph]
    memory: Memory | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, Any] = field(default_factory=dict)
    export_version: int = EXPORT_VERSION

    def __post_init__(self) -> None:
        def need(right: bool, key: str, expected: str) -> None:
            if not right:
                raise ModelError(f"{key} = {short_repr(getattr(self, key))}; expected {expected}")

        version = f"{EXPORT_VERSION}, the version that this package reads"
        need(self.export_version == EXPORT_VERSION, "export_version", version)
        need(self.architecture in ARCHITECTURES, "architecture", f"one of {', '.join(ARCHITECTURES)}")
        need(self.precision in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}")
        for key in ("name", "source", "weights_sha256"):
            need(isinstance(getattr(self, key), str), key, "text")
        for key in ("size_px", "channels"):
            value = getattr(self, key)
            fits = type(value) is int and 0 < value <= MAX_SIZE and value % 32 == 0
            need(fits, key, f"a multiple of 32, at most {MAX_SIZE}")
        need(isinstance(self.multimask, bool), "multimask", "true or false")
        names = IMAGE_GRAPHS + (MEMORY_GRAPHS if self.memory else ())
        need(set(self.graphs) - {POINTS} == set(names), "graphs", f"exactly {', '.join(names)}, and perhaps {POINTS}")
        need(self.memory is None or self.memory.is_sound, "memory", f"whole numbers from 1 to {MAX_SIZE}")

    @property
    def attended_at_once(self) -> int:
        """Objects per run of memory attention if all scores are in memory at once, as in ONNX Runtime.

        Each object has a score for each pair of a place and a remembered place: 0.5 GB at 1024 px. About six copies of
        it are in memory.
        """
        places = (self.size_px // 16) ** 2
        slots = self.memory.slots if self.memory else 0
        return max(1, _SCORES_BYTES // (4 * places * (slots * places + 1)))


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write `manifest.json` into `folder`."""
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n"
    (Path(folder) / FILE_NAME).write_text(text, encoding="utf-8")


def read_manifest(folder: Path, *, verify: bool = False) -> Manifest:
    """The manifest of an export folder; `verify` also compares every graph with its digest.

    Raises ModelError if the folder is not an export, is damaged, or was written by another version of this package.
    """
    folder = Path(folder)
    path = folder / FILE_NAME
    try:
        values = read_json_document(path)
    except UnreadableDocument as error:
        raise ModelError(f"{path} cannot be read: {error}; {_REMEDY}") from error
    try:
        manifest = _parse(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} is damaged: {type(error).__name__} {error}; {_REMEDY}") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}; {_REMEDY}") from error
    for name, graph in manifest.graphs.items():
        file = folder / graph.file
        if not file.is_file():
            raise ModelError(f"{file}, the {name}, is not there; {_REMEDY}")
        if verify and file_sha256(file) != graph.sha256:
            raise ModelError(
                f"{file}, the {name}, is not the one that {path} describes; export it again with "
                "`reasonseg export segmenter`"
            )
    return manifest


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits. Cached until the file changes."""
    path = Path(path).resolve()
    found = path.stat()
    # File times have a limited resolution: a file that has just changed may change again without a new time.
    is_settled = time.time_ns() - found.st_ctime_ns > SETTLED_NS
    read = _sha256 if is_settled else _sha256.__wrapped__
    return read(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, *_state: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _parse(values: Any) -> Manifest:
    graphs = {name: _graph(graph) for name, graph in values.pop("graphs").items()}
    memory = values.pop("memory")
    return Manifest(graphs=graphs, memory=Memory(**memory) if memory else None, **values)


def _graph(values: dict[str, Any]) -> Graph:
    file = values["file"]
    if Path(file).name != file:
        raise ValueError(f"file {file!r} is not a name in the folder")
    inputs, outputs = (tuple(_tensor(tensor) for tensor in values[key]) for key in ("inputs", "outputs"))
    return Graph(file, str(values["sha256"]), inputs, outputs)


def _tensor(values: dict[str, Any]) -> Tensor:
    name, dtype, shape = str(values["name"]), str(values["dtype"]), tuple(values["shape"])
    fixed = [size for size in shape if not isinstance(size, str)]
    if not all(type(size) is int and size > 0 for size in fixed) or not re.fullmatch(r"(u?int|float)\d{1,2}", dtype):
        raise ValueError(f"tensor {name[:40]!r} of {dtype[:20]!r} {short_repr(shape)}")
    if math.prod(fixed) * 8 > MAX_TENSOR_BYTES:
        raise ValueError(f"tensor {name[:40]!r} of shape {short_repr(shape)} is too large")
    return Tensor(name, dtype, shape)

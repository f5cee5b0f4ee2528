"""The text model and its state: the tokens that it has read, and their keys and values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.engine.onnxruntime import BoundGraph
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.reasoner.onnx.manifest import TEXT, ReasonerManifest
from reasonseg_ros.reasoner.onnx.positions import Grid, text_rotation, token_positions
from reasonseg_ros.types import FloatArray

SLOTS = 256
"""The cache grows by this many tokens."""


@dataclass(frozen=True, eq=False)
class ReadPrompt:
    """The state after a prompt, from which another prompt can continue.

    Attributes:
        ids: its tokens.
        grids: of its images.
        features: of its images, float32 [tokens, width].
        layers: keys and values, float32 [2, layers, heads, tokens, head size].
    """

    ids: tuple[int, ...]
    grids: tuple[Grid, ...]
    features: FloatArray
    layers: FloatArray

    @property
    def size_bytes(self) -> int:
        return self.layers.nbytes + self.features.nbytes


class TextModel:
    """Reads a prompt, then one token after the other. Its cache grows with the longest prompt. Not thread-safe."""

    def __init__(self, folder: Path, manifest: ReasonerManifest, threads: int) -> None:
        self._graph = BoundGraph(folder / TEXT, "text graph", threads)
        self._shape = manifest.text
        self._image_token = manifest.image_token
        self._logits = np.zeros((1, self._shape.vocabulary), np.float32)
        self._hidden = np.zeros((1, self._shape.width), np.float32)
        self._queries = {layer: np.zeros((1, 1, self._shape.width), np.float32) for layer in manifest.attention_layers}
        self._id = np.zeros((1, 1), np.int64)
        self._last_slot, self._total = np.zeros(1, np.int32), np.zeros(1, np.int32)
        self._ids: list[int] = []
        self._grids: tuple[Grid, ...] = ()
        self._features = np.zeros((0, self._shape.width), np.float32)
        self._allocate(SLOTS)

    @property
    def hidden(self) -> FloatArray:
        """The last hidden state, normalised, of the newest token: float32 [width]."""
        newest: FloatArray = self._hidden[0].copy()
        return newest

    @property
    def image_features(self) -> FloatArray:
        """Of the first image of the prompt, float32 [rows, columns, width]."""
        rows, columns = self._grids[0]
        seen: FloatArray = self._features[: rows * columns].reshape(rows, columns, -1).copy()
        return seen

    def read(self, ids: Sequence[int], grids: Sequence[Grid], features: FloatArray) -> FloatArray:
        """Read a new prompt. `features` float32 [tokens, width] are those of its images, in order.

        Returns the logits of the next token, float32 [vocabulary], valid until the next call.
        """
        self._begin(ids, grids, features)
        places = np.flatnonzero(np.asarray(ids) == self._image_token)
        return self._run(list(ids), places, features)

    def continued(self, known: ReadPrompt, ids: Sequence[int]) -> FloatArray:
        """As `read`, for a prompt that is the same as `known` at least up to its last image. Reads only the rest."""
        most = min(len(known.ids), len(ids) - 1)  # the last token is always read
        shared = next((index for index in range(most) if known.ids[index] != ids[index]), most)
        self._begin(ids, known.grids, known.features)
        for index, (keys, values) in enumerate(self._layers):
            keys[0, :, :shared], values[0, :, :shared] = known.layers[:, index, :, :shared]
        self._total[0] = shared
        tail = list(ids[shared:])
        if self._image_token in tail:
            raise InvalidInput("the prompt differs from the known one before its last image")
        return self._run(tail, np.zeros(0, np.int64), np.zeros((0, self._shape.width), np.float32))

    def kept(self) -> ReadPrompt:
        """A copy of the state."""
        length = len(self._ids)
        layers = [[part[0, :, :length] for part in layer] for layer in self._layers]
        return ReadPrompt(
            tuple(self._ids), self._grids, self._features, np.array(layers, np.float32).transpose(1, 0, 2, 3, 4)
        )

    def next(self, token: int) -> FloatArray:
        """Read one token more. Returns logits as `read` does."""
        if len(self._ids) == len(self._cos):
            self._grow()
        self._ids.append(token)
        self._id[0, 0] = token
        self._last_slot[0] = self._total[0]
        self._total[0] += 1
        self._step()
        return self._logits_now()

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` tokens, which must include the prompt."""
        del self._ids[length:]
        self._total[0] = length

    def attention(self) -> FloatArray:
        """Attention of the newest token to each image token, float32 [image tokens], summed over layers and heads.

        Summed over all tokens it would be the number of layers times heads. Empty without `attention_layers`.
        """
        newest, size = len(self._ids) - 1, self._shape.head_size
        places = np.flatnonzero(np.asarray(self._ids) == self._image_token)
        found = np.zeros(len(places) if self._queries else 0, np.float32)
        for layer, queries in self._queries.items():
            query = queries.reshape(self._shape.kv_heads, -1, size)
            first, second = query[..., : size // 2], query[..., size // 2 :]
            cos, sin = self._cos[newest], self._sin[newest]
            turned = np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)
            keys = self._layers[layer][0][0, :, : newest + 1]
            scores = turned @ keys.transpose(0, 2, 1) / np.float32(np.sqrt(size))
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            found += (weights / weights.sum(-1, keepdims=True))[..., places].sum((0, 1))
        return found

    def _begin(self, ids: Sequence[int], grids: Sequence[Grid], features: FloatArray) -> None:
        if len(ids) >= self._shape.longest:
            raise InvalidInput(
                f"the prompt has {len(ids)} tokens, and the checkpoint takes fewer than {self._shape.longest}; show "
                "fewer or smaller images, or ask a shorter question"
            )
        if len(ids) >= len(self._cos):
            self._allocate(-(-(len(ids) + 1) // SLOTS) * SLOTS)
        self._ids, self._grids, self._features = list(ids), tuple(grids), features
        self._total[0] = 0
        self._turn()

    def _run(self, ids: list[int], places: NDArray[np.int64], features: FloatArray) -> FloatArray:
        self._total[0] += len(ids)
        self._last_slot[0] = self._total[0] - 1
        image_at = np.stack([np.zeros_like(places), places], 1)
        self._bound(np.array([ids], np.int64), image_at, np.ascontiguousarray(features))()
        return self._logits_now()

    def _logits_now(self) -> FloatArray:
        logits: FloatArray = self._logits[0]
        return logits

    def _turn(self) -> None:
        """Fill the tables of rotations for the prompt's images."""
        positions = token_positions(self._ids, self._image_token, self._grids, len(self._cos))
        self._cos[:], self._sin[:] = text_rotation(positions, self._shape)

    def _grow(self) -> None:
        before, length = self._layers, len(self._ids)
        self._allocate(len(self._cos) + SLOTS)
        for (keys, values), (old_keys, old_values) in zip(self._layers, before, strict=True):
            keys[:, :, :length], values[:, :, :length] = old_keys[:, :, :length], old_values[:, :, :length]
        self._turn()

    def _allocate(self, slots: int) -> None:
        shape = (1, self._shape.kv_heads, slots, self._shape.head_size)
        self._layers = [(np.zeros(shape, np.float32), np.zeros(shape, np.float32)) for _ in range(self._shape.layers)]
        self._cos = np.zeros((slots, self._shape.head_size // 2), np.float32)
        self._sin = self._cos.copy()
        no_places, no_features = np.zeros((0, 2), np.int64), np.zeros((0, self._shape.width), np.float32)
        self._step = self._bound(self._id, no_places, no_features)

    def _bound(self, ids: NDArray[np.int64], image_at: NDArray[np.int64], features: FloatArray) -> Callable[[], None]:
        inputs: dict[str, NDArray[Any]] = {
            "ids": ids, "image_at": image_at, "features": features, "seqlens_k": self._last_slot,
            "total": self._total, "cos": self._cos, "sin": self._sin,
        }  # fmt: skip
        outputs: dict[str, NDArray[Any]] = {"logits": self._logits, "hidden": self._hidden}
        outputs |= {f"query_{layer}": queries for layer, queries in self._queries.items()}
        for index, (keys, values) in enumerate(self._layers):
            inputs |= {f"past_key_{index}": keys, f"past_value_{index}": values}
            outputs |= {f"key_{index}": keys, f"value_{index}": values}
        return self._graph.bind(inputs, outputs)

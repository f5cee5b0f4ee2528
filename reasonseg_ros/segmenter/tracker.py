"""SAM2's streaming memory: targets prompted once are found again in every further frame, all in one batch.

Source: Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024. The graphs that are run are described in
`engine.manifest`; the computation is that of transformers' `Sam2VideoModel` over a stream of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from reasonseg_ros.config.models import TrackerConfig
from reasonseg_ros.engine.manifest import Memory
from reasonseg_ros.engine.port import Value, check_finite
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.segmenter.exported import PAD, prompt_points
from reasonseg_ros.segmenter.memory_bank import MemoryBank
from reasonseg_ros.segmenter.port import Features, Track
from reasonseg_ros.segmenter.track_states import NEW, TrackState, masks_from_logits
from reasonseg_ros.types import BoolMask, FloatArray, Grounding

SURE_LOGIT = 10.0
"""Logit of a given mask, as in SAM2."""


class TrackerGraph(Protocol):
    """The part of an engine that the tracker uses (`engine.port.Engine`)."""

    largest: Mapping[str, int]

    def run(self, inputs: Mapping[str, Value], keep: Collection[str] = ()) -> dict[str, Value]: ...

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Value: ...


class MemoryTracker:
    """Tracks targets by their memories. Not thread-safe.

    A target that is not visible has an empty mask and stays in the list: it is found again when it returns. Frames
    count in the order of arrival, whatever their stamps.
    """

    def __init__(
        self,
        graphs: Mapping[str, TrackerGraph],
        memory: Memory,
        size_px: int,
        read_config: Callable[[], TrackerConfig],
        maps: Callable[[Features], Mapping[str, Value]] = lambda features: features.data,
    ) -> None:
        """
        Args:
            graphs: the decoder, memory_attention and memory_encoder.
            read_config: gives the current settings; it is called at each step, so that changes apply at once.
            maps: gives the encoder's outputs by name.
        """
        self._graphs = graphs
        self._memory = memory
        self._size_px = size_px
        self._read_config = read_config
        self._maps = maps
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget every target; ids are not used again."""
        self._bank = MemoryBank(self._memory.slots, self._memory.pointers, self._graphs["memory_encoder"].zeros)
        self._states: list[TrackState] = []  # in the order of the bank's rows
        self._frame = 0
        self._stamp_ns: int | None = None

    def add(
        self,
        features: Features,
        groundings: Sequence[Grounding],
        stamp_ns: int,
        masks: Sequence[BoolMask] | None = None,
    ) -> list[Track]:
        """Start to track one target for each grounding in this frame; the others stay tracked.

        Given `masks` are stored in the memory unchanged. The groundings are then decoded only for the object pointers,
        as SAM2 does for a mask.
        """
        if not groundings:
            return []
        self._arrive(stamp_ns)
        found = self._prompt(features, groundings, masks)
        self._bank.add(found["mem_feat"], found["object_pointer"], self._frame)
        states = [TrackState(self._next_id + i, NEW, stamp_ns, stamp_ns) for i in range(len(groundings))]
        self._next_id += len(groundings)
        self._states += states
        shown = masks
        if shown is None:
            shown = masks_from_logits(list(found["masks"][:, 0]), features.size_wh, not self._read_config().overlap)
        return _tracks(states, shown, found["iou"][:, 0])

    def step(self, features: Features, stamp_ns: int) -> list[Track]:
        """Every target in the next frame, in the order of their ids."""
        if not self._states:
            return []
        self._arrive(stamp_ns)
        maps = self._maps(features)
        remembered = self._bank.inputs(self._frame)
        found = _in_batches(self._most(), len(self._states), lambda rows: self._follow(maps, remembered, rows))
        self._bank.remember(found["mem_feat"], found["object_pointer"], self._frame)
        present = found["object_score"][:, 0] > 0
        logits = [values if is_seen else None for values, is_seen in zip(found["masks"][:, 0], present, strict=True)]
        masks = masks_from_logits(logits, features.size_wh, not self._read_config().overlap)
        # A target that the model finds, but whose pixels all belong to another target, is not visible either.
        self._states = [
            state.after(bool(mask.any()), stamp_ns, self._read_config().lost_after_s)
            for state, mask in zip(self._states, masks, strict=True)
        ]
        return sorted(_tracks(self._states, masks, found["iou"][:, 0]), key=lambda track: track.track_id)

    def remove(self, track_ids: Sequence[int]) -> None:
        """Stop tracking these targets. Raises InvalidInput for an id that is not tracked."""
        for track_id in track_ids:
            row = self._row(track_id)
            self._bank.remove(row)
            self._states[row] = self._states[-1]
            self._states.pop()

    def _row(self, track_id: int) -> int:
        for row, state in enumerate(self._states):
            if state.track_id == track_id:
                return row
        known = ", ".join(str(state.track_id) for state in self._states) or "nothing"
        raise InvalidInput(f"track {track_id} is not tracked; tracked: {known}")

    def _arrive(self, stamp_ns: int) -> None:
        if stamp_ns != self._stamp_ns:
            self._frame, self._stamp_ns = self._frame + 1, stamp_ns

    def _prompt(
        self, features: Features, groundings: Sequence[Grounding], masks: Sequence[BoolMask] | None
    ) -> dict[str, Any]:
        maps = self._maps(features)
        coords, labels = prompt_points(groundings, features.size_wh, self._size_px)

        def decode(rows: slice) -> dict[str, Any]:
            count = len(labels[rows])
            embed = maps["image_embed"]
            embed = embed.expand(count, *embed.shape[1:]) if hasattr(embed, "expand") else np.repeat(embed, count, 0)
            found = self._decode(maps, embed, coords[rows], labels[rows])
            if masks is not None:
                side = found["masks"].shape[-1]
                found["masks"] = np.stack([_given(mask, side) for mask in masks[rows]])[:, None]
            # A prompt is trusted: the target is visible.
            found["object_score"] = np.abs(found["object_score"]) + 1e-3
            return found | self._remember(maps, found, prompted=True)

        return _in_batches(self._most(), len(groundings), decode)

    def _follow(self, maps: Mapping[str, Value], remembered: Mapping[str, Value], rows: slice) -> dict[str, Any]:
        attended = self._graphs["memory_attention"].run(
            {"vision_feat": maps["vision_feat"], **{name: value[rows] for name, value in remembered.items()}},
            keep=("image_embed",),
        )
        # SAM2 pads a prompt with one empty point, and gives an empty prompt another one before that.
        labels = np.full((rows.stop - rows.start, 2), PAD, np.int32)
        found = self._decode(maps, attended["image_embed"], np.zeros((*labels.shape, 2), np.float32), labels)
        return found | self._remember(maps, found, prompted=False)

    def _decode(
        self, maps: Mapping[str, Value], embed: Value, coords: FloatArray, labels: np.ndarray
    ) -> dict[str, Any]:
        found = self._graphs["decoder"].run(
            {
                "image_embed": embed,
                "high_res_0": maps["high_res_0"],
                "high_res_1": maps["high_res_1"],
                "point_coords": coords,
                "point_labels": labels,
            },
            keep=("object_pointer",),
        )
        check_finite("tracker's mask decoder", {name: found[name] for name in ("masks", "iou", "object_score")})
        return found

    def _remember(self, maps: Mapping[str, Value], found: Mapping[str, Any], prompted: bool) -> dict[str, Value]:
        return self._graphs["memory_encoder"].run(
            {
                "vision_feat": maps["vision_feat"],
                "masks": found["masks"],
                "object_score": found["object_score"],
                "prompted": np.full(len(found["masks"]), float(prompted), np.float32),
            },
            keep=("mem_feat",),
        )

    def _most(self) -> int:
        """Targets in one batch."""
        return min((graph.largest["N"] for graph in self._graphs.values() if "N" in graph.largest), default=1 << 30)


def _tracks(
    states: Sequence[TrackState], masks: Sequence[BoolMask], scores: Sequence[float] | FloatArray
) -> list[Track]:
    return [
        state.track(mask, float(np.clip(score, 0.0, 1.0)))
        for state, mask, score in zip(states, masks, scores, strict=True)
    ]


def _in_batches(most: int, count: int, run: Callable[[slice], dict[str, Any]]) -> dict[str, Any]:
    """The joined results of `run` for rows 0 to `count`, at most `most` at once."""
    parts = [run(slice(start, min(start + most, count))) for start in range(0, count, most)]
    return parts[0] if len(parts) == 1 else {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _joined(values: list[Value]) -> Value:
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)
    import torch

    return torch.cat(values)


def _given(mask: BoolMask, side_px: int) -> FloatArray:
    """float32 logits [side, side] of a given mask."""
    share = cv2.resize(mask.astype(np.float32), (side_px, side_px), interpolation=cv2.INTER_AREA)
    logits: FloatArray = (2 * share - 1) * np.float32(SURE_LOGIT)
    return logits

"""A robot in simulated time: propagation to the newest image, and the cost of each of its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from reasonseg_ros.config import Config
from reasonseg_ros.live.following.motion import moved_mask
from reasonseg_ros.live.following.propagation import Propagator
from reasonseg_ros.live.stream.frame_buffer import Arrival, FrameBuffer
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.port import Features, ScoredMask, Segmenter, Track, Tracker
from reasonseg_ros.types import BoolMask, Frame, Grounding, RgbImage

RATE_HZ = 10.0


@dataclass(frozen=True)
class Costs:
    """Seconds on the simulated machine to encode an image, to step with one target, to move a mask, and to decode and
    shrink a raw image."""

    encode_s: float
    memory_s: float
    reprompt_s: float
    move_s: float
    decode_s: float


ASSUMED = Costs(0.085, 0.066, 0.03, 0.02, 0.002)
"""One thread of an AMD EPYC: encoding 85 ms; memory attention, decoder and memory encoder 50 ms; outline 16 ms."""


class Clock:
    """Simulated seconds since the first image."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Charged:
    """A segmenter or tracker that takes simulated time."""

    def __init__(self, clock: Clock, encode_s: float, segmenter: Segmenter) -> None:
        self.name, self.needs_boxes = segmenter.name, segmenter.needs_boxes
        self._clock, self._encode_s, self._segmenter = clock, encode_s, segmenter

    def encode(self, rgb: RgbImage) -> Features:
        self._clock.now_s += self._encode_s
        return self._segmenter.encode(rgb)

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        return self._segmenter.decode(features, groundings)


class ChargedTracker:
    def __init__(self, clock: Clock, step_s: float, tracker: Tracker) -> None:
        self._clock, self._step_s, self._tracker = clock, step_s, tracker

    def add(
        self,
        features: Features,
        groundings: Sequence[Grounding],
        stamp_ns: int,
        masks: Sequence[BoolMask] | None = None,
    ) -> list[Track]:
        self._clock.now_s += self._step_s
        return self._tracker.add(features, groundings, stamp_ns, masks)

    def step(self, features: Features, stamp_ns: int) -> list[Track]:
        self._clock.now_s += self._step_s
        return self._tracker.step(features, stamp_ns)

    def remove(self, track_ids: Sequence[int]) -> None:
        self._tracker.remove(track_ids)

    def reset(self) -> None:
        self._tracker.reset()


class Stream(FrameBuffer):
    """The node's buffer in simulated time: it holds the images taken until now."""

    def __init__(self, frames: Sequence[Frame], config: Config, clock: Clock, decode_s: float) -> None:
        stream = config.stream
        super().__init__(stream.buffer_s, stream.buffer_mb * 1_000_000, stream.buffer_hz)
        self._frames, self._clock, self._decode_s, self._shown = frames, clock, decode_s, 0

    @property
    def newest(self) -> int:
        """Index of the newest image."""
        return min(int(self._clock.now_s * RATE_HZ + 1e-6), len(self._frames) - 1)

    def after(self, stamp_ns: int) -> list[Arrival]:
        for frame in self._frames[self._shown : self.newest + 1]:
            self.add(Arrival(frame.stamp_ns, frame.rgb.nbytes, partial(self._decoded, frame)))
        self._shown = self.newest + 1
        return super().after(stamp_ns)

    def _decoded(self, frame: Frame) -> Frame:
        self._clock.now_s += self._decode_s
        return frame


class Robot:
    """Propagation with one kind of tracker. With each question it learns how long an image takes."""

    def __init__(self, config: Config, segmenter: Segmenter, make_tracker: Callable[[], Tracker], costs: Costs) -> None:
        self.clock = Clock()
        step_s = costs.memory_s if config.tracker.mode == "memory" else costs.reprompt_s
        self.costs = costs
        # The image that was reasoned on is kept, as in the node.
        self.segmenter = KeptFeatures(Charged(self.clock, costs.encode_s, segmenter), 1)
        self.config = config
        self.propagator = Propagator(
            self.segmenter, lambda: ChargedTracker(self.clock, step_s, make_tracker()), self.clock, self._moved
        )

    def _moved(self, before: RgbImage, after: RgbImage, mask: BoolMask) -> BoolMask | None:
        self.clock.now_s += self.costs.move_s
        return moved_mask(before, after, mask)

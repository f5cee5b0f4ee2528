"""The values that flow from a camera image and a question to masks with their reason.

Conventions: pixel coordinates have x to the right, y down, the origin at the top left corner of the image;
boxes are `x1, y1, x2, y2` with `x2, y2` exclusive; stamps are nanoseconds since the epoch of the source clock.
Every value is frozen and checked once, when it is made. Its text is cleaned then (`plain_text`), so that it can be
published, stored and printed wherever it came from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.plain_text import LONGEST_TEXT, one_line, plain_text
from reasonseg_ros.spatial import CameraPose, Intrinsics, Surface

BoolMask = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
RgbImage = NDArray[np.uint8]
Points = NDArray[np.float64]
"""In rows, [N, 2] or [N, 3]."""


class Status(str, Enum):
    """How a question ended. Only `OK` and `NO_TARGET` are answers; all the others say why there is none.

    `UNSURE`: an answer whose confidence is below the threshold. It has regions unless it says that nothing fits.
    `EMPTY_MASK`: the reasoner pointed at something, and the segmenter marked no pixel of it.
    """

    OK = "ok"
    NO_TARGET = "no_target"
    UNSURE = "unsure"
    UNPARSABLE = "unparsable"
    TRUNCATED = "truncated"
    CONTRADICTION = "contradiction"
    EMPTY_MASK = "empty_mask"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    NO_FRAME = "no_frame"
    OUT_OF_MEMORY = "out_of_memory"
    UNAVAILABLE = "unavailable"
    LOST = "lost"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value

    @property
    def is_answer(self) -> bool:
        return self in (Status.OK, Status.NO_TARGET)

    @property
    def has_regions(self) -> bool:
        """Whether an answer of this status may have regions."""
        return self in (Status.OK, Status.UNSURE)

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask to score, which may be empty."""
        return self.is_answer or self in (Status.UNSURE, Status.EMPTY_MASK)


class Mode(str, Enum):
    """How a question is answered.

    ONCE about the newest image. WATCH the same, asked again whenever its period is over. TRACK once, then its targets
    are followed from image to image. HISTORY about what happened in the last seconds.
    """

    ONCE = "once"
    WATCH = "watch"
    TRACK = "track"
    HISTORY = "history"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera image.

    Attributes:
        rgb: uint8 [H, W, 3], contiguous, red first.
        stamp_ns: when it was taken.
        frame_id: the optical frame (REP-103: z forward, x right, y down).
        depth_m: float32 [H, W] along z in metres, 0 or NaN where unknown (REP-118).
        camera_pose: as it was at the image's stamp; None leaves results in space in the optical frame.
        warning_3d: why depth, intrinsics or camera pose are missing though they were expected.
    """

    rgb: RgbImage
    stamp_ns: int = 0
    frame_id: str = "camera"
    depth_m: FloatArray | None = None
    intrinsics: Intrinsics | None = None
    camera_pose: CameraPose | None = None
    warning_3d: str = ""

    def __post_init__(self) -> None:
        shape = self.rgb.shape
        if self.rgb.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise InvalidInput(f"image of shape {shape} and type {self.rgb.dtype}; expected uint8 [H, W, 3], not empty")
        object.__setattr__(self, "frame_id", one_line(self.frame_id))
        object.__setattr__(self, "warning_3d", one_line(self.warning_3d))
        if not self.rgb.flags.c_contiguous:
            object.__setattr__(self, "rgb", np.ascontiguousarray(self.rgb))
        if self.depth_m is not None and self.depth_m.shape != shape[:2]:
            raise InvalidInput(f"depth of shape {self.depth_m.shape} for an image of {shape[:2]}; register the depth")

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.rgb.shape[1], self.rgb.shape[0]


@dataclass(frozen=True)
class Query:
    """A question in ordinary words. If it is watched or followed, it ends after `frames` answers; 0: never."""

    text: str
    query_id: str = ""
    mode: Mode = Mode.ONCE
    frames: int = 0

    def __post_init__(self) -> None:
        # Not shortened: a question that is too long is refused.
        object.__setattr__(self, "text", plain_text(self.text, len(self.text)))
        object.__setattr__(self, "query_id", one_line(self.query_id, LONGEST_TEXT))


@dataclass(frozen=True, eq=False)
class Grounding:
    """Where the reasoner says a target is, in source pixels.

    Attributes:
        box_xyxy: float32 [4].
        points_xy: float32 [P, 2], P may be 0.
        point_labels: int32 [P], 1 inside the target, 0 outside it.
        has_box: False if only points are known; `box_xyxy` then just encloses them and is no prompt.
        any_order: the box is prompted as it is written, as published scoring scripts do, with its corners in any order.
    """

    box_xyxy: FloatArray
    points_xy: FloatArray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    point_labels: NDArray[np.int32] | None = None
    label: str = ""
    score: float = 1.0
    has_box: bool = True
    any_order: bool = False

    def __post_init__(self) -> None:
        box = np.asarray(self.box_xyxy, np.float32).reshape(-1)
        points = np.asarray(self.points_xy, np.float32).reshape(-1, 2)
        given = np.ones(len(points)) if self.point_labels is None else self.point_labels
        labels = np.asarray(given, np.int32)
        if box.shape != (4,) or not np.isfinite(box).all() or not (self.any_order or _is_in_order(box)):
            raise InvalidInput(f"box {box.tolist()}; expected finite x1 < x2 and y1 < y2")
        if not np.isfinite(points).all() or labels.shape != (len(points),):
            raise InvalidInput(f"{len(points)} points {points.tolist()} with labels {labels.tolist()}")
        object.__setattr__(self, "box_xyxy", box)
        object.__setattr__(self, "points_xy", points)
        object.__setattr__(self, "point_labels", labels)
        object.__setattr__(self, "label", one_line(self.label))

    @property
    def is_in_order(self) -> bool:
        """Whether x1 < x2 and y1 < y2."""
        return _is_in_order(self.box_xyxy)


def _is_in_order(box_xyxy: FloatArray) -> bool:
    return bool(box_xyxy[0] < box_xyxy[2] and box_xyxy[1] < box_xyxy[3])


@dataclass(frozen=True, eq=False)
class Answer:
    """What the reasoner said, parsed.

    `groundings` is empty for every status but `OK`, `UNSURE` and `EMPTY_MASK`: that nothing fits is a result, a failure
    is not. An `UNSURE` answer without groundings is an unsure "nothing fits".

    Attributes:
        entropy_nats: sum of the token entropies over the thought, a close lower bound if a server lists the likeliest
            tokens only; None if it is not known.
        no_entropy: why it is not known, where a server should give it.
        confidence: calibrated probability that the right targets are meant, 0 to 1; None without a calibration.
        log_likelihood_nats: of all tokens of the answer, given the question; None if it was not asked for, or the
            reasoner cannot tell.
    """

    status: Status
    thought: str = ""
    groundings: tuple[Grounding, ...] = ()
    raw_text: str = ""
    error: str = ""
    dialect: str = ""
    model: str = ""
    tokens: int = 0
    entropy_nats: float | None = None
    confidence: float | None = None
    log_likelihood_nats: float | None = None
    no_entropy: str = ""

    def __post_init__(self) -> None:
        needed = self.status in (Status.OK, Status.EMPTY_MASK)
        if needed != bool(self.groundings) and self.status is not Status.UNSURE:
            raise InvalidInput(f"status {self.status} with {len(self.groundings)} groundings")
        if not self.status.is_answer and not self.error:
            raise InvalidInput(f"status {self.status} without a reason")
        for name in ("thought", "raw_text"):
            object.__setattr__(self, name, plain_text(getattr(self, name)))
        for name in ("error", "dialect", "model", "no_entropy"):
            object.__setattr__(self, name, one_line(getattr(self, name)))


@dataclass(frozen=True, eq=False)
class Region:
    """One segmented target of the frame.

    Attributes:
        mask: bool [H, W], holes filled and specks removed.
        box_xyxy: float32 [4], the tight box of `mask`; the grounding's box if the mask is empty.
        mask_score: the segmenter's predicted IoU, 0 to 1.
        box_iou: agreement of `box_xyxy` with the grounding's box.
        points_inside: share of the grounding's positive points that the mask covers; 1 without points.
        holes, fragments: counted in the raw mask (a sound mask has 0 and 1).
        raw_mask: as the segmenter gave it; None unless asked for.
        track_id: the same while the target is followed, and never used for another one; 0 if it is not followed.
        track_state: `new`, `tracked`, `occluded` or `lost`; empty if it is not followed.
        surface: in space; None without depth and intrinsics.
    """

    mask: BoolMask
    box_xyxy: FloatArray
    grounding: Grounding
    mask_score: float
    box_iou: float
    points_inside: float
    holes: int
    fragments: int
    raw_mask: BoolMask | None = None
    track_id: int = 0
    track_state: str = ""
    surface: Surface | None = None

    @property
    def label(self) -> str:
        return self.grounding.label


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The answer to a question about one frame.

    Attributes:
        frame: the frame whose pixels the masks belong to.
        regions: one for each grounding whose mask is not empty, in the answer's order. While targets are followed, also
            those that are not seen; messages leave these out (`segmenter.regions.without_empty`).
        seconds: time spent in each stage.
        reasoned_stamp_ns: stamp of the frame that was reasoned on, if the masks were carried to another; else None. A
            stamp may be 0: simulated time begins there.
        alternative: of an `UNSURE` answer the second-best candidate, which is no part of the answer: its regions, none
            if it says that nothing fits. None if there is none.
    """

    frame: Frame
    query: Query
    answer: Answer
    regions: tuple[Region, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    reasoned_stamp_ns: int | None = None
    alternative: tuple[Region, ...] | None = None

    @property
    def origin_ns(self) -> int:
        """Stamp of the frame that was reasoned on."""
        return self.frame.stamp_ns if self.reasoned_stamp_ns is None else self.reasoned_stamp_ns

    @property
    def status(self) -> Status:
        return self.answer.status

    @property
    def mask(self) -> BoolMask:
        """Union of the regions, bool [H, W]."""
        union = np.zeros(self.frame.rgb.shape[:2], bool)
        for region in self.regions:
            union |= region.mask
        return union

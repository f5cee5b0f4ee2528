"""A video of the tabletop: its frames and what happens in them."""

from __future__ import annotations

from dataclasses import dataclass

from reasonseg_ros.tabletop.scene import Scene

EVENT_KINDS = ("pushed", "rolled", "fell", "put_down", "hidden")
SHORTEST_S = 2.0


@dataclass(frozen=True)
class Event:
    """Something that happened to one object.

    Attributes:
        kind: one of EVENT_KINDS.
        first_frame: the first frame that differs from how it was before.
        last_frame: the first frame from which it stays as it is.
    """

    kind: str
    instance_id: int
    first_frame: int
    last_frame: int


@dataclass(frozen=True, eq=False)
class Video:
    """Frames at a steady rate and what happens in them. An object keeps its instance id in all frames."""

    seed: int
    rate_hz: float
    scenes: tuple[Scene, ...]
    events: tuple[Event, ...]

"""A video of the tabletop: its frames and its events."""

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
        first_frame: the first frame in which the object has changed.
        last_frame: the first frame after which it no longer changes.
    """

    kind: str
    instance_id: int
    first_frame: int
    last_frame: int


@dataclass(frozen=True, eq=False)
class Video:
    """Frames at a constant rate, and their events. An object has the same instance id in all frames."""

    seed: int
    rate_hz: float
    scenes: tuple[Scene, ...]
    events: tuple[Event, ...]

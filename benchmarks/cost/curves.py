"""The curves by name. In a separate module, because each is measured in a separate process."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cost.curve import Curve
from benchmarks.table.groups import CACHE

LONG = ("frames followed, scripted", "frames followed, embedded", "bag size")
"""Curves of cost over hours of work."""
NAMES = ("objects", "image size", "thought length", "questions waiting", *LONG, "cameras")


def measured(name: str, quick: bool, most: int = 0) -> Curve:
    """`most` shortens the curves of frames and bags; 0: full length."""
    from benchmarks.cost.answers import image_size, objects, thought_length
    from benchmarks.cost.bag_sizes import bag_size
    from benchmarks.cost.cameras import cameras
    from benchmarks.cost.following import embedded, scripted
    from benchmarks.cost.waiting import questions_waiting

    CACHE.mkdir(parents=True, exist_ok=True)
    repetitions = 2 if quick else 7
    ways: dict[str, Callable[[], Curve]] = {
        "objects": lambda: objects(repetitions),
        "image size": lambda: image_size(repetitions),
        "thought length": lambda: thought_length(2 if quick else 3),
        "questions waiting": lambda: questions_waiting(CACHE),
        "frames followed, scripted": lambda: scripted(most or (200 if quick else 10_000)),
        "frames followed, embedded": lambda: embedded(most or (200 if quick else 10_000)),
        "bag size": lambda: bag_size(most or (100 if quick else 100_000)),
        "cameras": lambda: cameras(3 if quick else 30),
    }
    return ways[name]()

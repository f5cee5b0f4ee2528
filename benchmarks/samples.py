"""Questions of bags, for both sides of a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reasonseg_ros.evaluation.bag_messages import read_bags
from reasonseg_ros.evaluation.reading.samples import Sample, Truth
from reasonseg_ros.files.resources import resource


def judged(bag: Path) -> Iterator[tuple[Sample, Truth]]:
    """Every question with its ground truth. Raises ValueError if the bag is damaged or has none."""
    for sample in read_bags([bag]):
        if not isinstance(sample, Sample) or sample.truth is None:
            raise ValueError(f"{bag}: {sample.sample_id} has no image or no ground truth; write the bag again")
        yield sample, sample.truth


def shipped_questions() -> list[Sample]:
    """Those of the shipped bag that have a target, each about another image."""
    return [sample for sample, truth in judged(resource("demo/tabletop")) if truth.mask.any()]

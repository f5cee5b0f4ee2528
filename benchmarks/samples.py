"""Questions of bags, for both sides of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from reasonseg_ros.evaluation.bag_messages import read_bags
from reasonseg_ros.evaluation.reading.clips import Truth
from reasonseg_ros.files.resources import resource
from reasonseg_ros.types import Frame


class LabelledQuestion(NamedTuple):
    """A question about one image, with its ground truth."""

    sample_id: str
    kind: str
    question: str
    load_frame: Callable[[], Frame]
    truth: Truth


def labelled(bag: Path) -> Iterator[LabelledQuestion]:
    """Every question of a bag. Raises ValueError if the bag is damaged or has no ground truth."""
    for clip in read_bags([bag]):
        for lost in clip.unreadable:
            raise ValueError(f"{bag}: {lost.sample_id} {lost.reason}; write the bag again")
        for sample in clip.samples:
            if sample.truth is None:
                raise ValueError(f"{bag}: {sample.sample_id} has no ground truth; write the bag again")
            yield LabelledQuestion(sample.sample_id, sample.kind, clip.question, sample.load_frame, sample.truth)


def shipped_questions() -> list[LabelledQuestion]:
    """The questions of the shipped bag that have a target, each about another image."""
    return [one for one in labelled(resource("demo/tabletop")) if one.truth.mask.any()]

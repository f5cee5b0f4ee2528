"""Pictures from bags with ground truth. The objects are the targets of all questions; the model names them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import cv2

from reasonseg_ros.data_engine.pictures import ListedObject, LoadedPicture, SourcePicture, askable
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.bag_messages import read_bags
from reasonseg_ros.evaluation.datasets.pictures import EncodedImage
from reasonseg_ros.evaluation.reading.clips import Clip, Sample
from reasonseg_ros.faults import reason
from reasonseg_ros.training.mask_targets import object_masks


def bag_pictures(bags: Sequence[Path]) -> Iterator[SourcePicture]:
    """The images of the bags with questions, in order; of a video only the first one with a question.

    Raises InvalidInput if a bag cannot be read. For each unreadable part of a bag, it yields a picture whose `load`
    raises InvalidInput with the reason.
    """
    for (bag, stamp_ns), clips in groupby(read_bags(bags), _place):
        listed = list(clips)
        for clip in listed:
            for lost in clip.unreadable:
                yield SourcePicture(lost.sample_id or "bag", partial(_refuse, lost.reason))
        samples = [clip.samples[0] for clip in listed if clip.samples]
        if samples:
            name = f"{bag or bags[0].resolve().name}-{stamp_ns}"
            yield SourcePicture(name, partial(_load, samples))


def _place(clip: Clip) -> tuple[str, int]:
    return clip.bag, clip.samples[0].stamp_ns if clip.samples else -1


def _load(samples: Sequence[Sample]) -> LoadedPicture:
    objects: list[ListedObject] = []
    problems = []
    for sample in samples:
        try:
            if sample.truth is None:
                raise InvalidInput("it has no ground truth")
            objects += [ListedObject(mask) for mask in object_masks(sample.truth)]
        except InvalidInput as error:
            problems.append(f"{sample.sample_id}: {reason(error)}")
    rgb = samples[0].load_frame().rgb
    _, png = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    image = EncodedImage(png.tobytes(), "png", (rgb.shape[1], rgb.shape[0]))
    return LoadedPicture(image, askable(objects), tuple(problems))


def _refuse(why: str) -> LoadedPicture:
    raise InvalidInput(why)

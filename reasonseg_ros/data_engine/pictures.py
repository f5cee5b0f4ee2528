"""Pictures and their listed objects."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reasonseg_ros.evaluation.datasets.pictures import EncodedImage
from reasonseg_ros.geometry import mask_box, mask_iou
from reasonseg_ros.images.files import decode_image, rgb_from_pixels
from reasonseg_ros.images.overlays.drawing import draw
from reasonseg_ros.images.overlays.numbers import numbered
from reasonseg_ros.types import BoolMask, Grounding, Region, RgbImage

MOST_OBJECTS = 20
"""Maximum listed objects. More drawn numbers would cover the picture and each other."""
LEAST_SHARE = 0.0005
"""Minimum share of the picture that an object covers. Smaller ones are hard to see and to number."""
SAME_IOU = 0.8
"""Masks with a larger IoU count as one object."""


@dataclass(frozen=True, eq=False)
class ListedObject:
    """One instance.

    Attributes:
        mask: bool [H, W].
        name: name of its category; empty if the model has to name it.
        synonyms: other names of the category.
    """

    mask: BoolMask
    name: str = ""
    synonyms: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.name, *self.synonyms) if name)


@dataclass(frozen=True, eq=False)
class LoadedPicture:
    """An image and its objects, numbered from 1 in this order.

    `problems` has a line for each unusable object. `unlisted` are named objects without questions: crowds, tiny ones,
    and those beyond MOST_OBJECTS.
    """

    image: EncodedImage
    objects: tuple[ListedObject, ...]
    problems: tuple[str, ...] = ()
    unlisted: tuple[ListedObject, ...] = ()

    @cached_property
    def rgb(self) -> RgbImage:
        """uint8 [H, W, 3]."""
        return rgb_from_pixels(decode_image(self.image.data, upright=True))

    @cached_property
    def digest(self) -> str:
        """A digest of the image file, 20 hexadecimal digits."""
        return hashlib.sha256(self.image.data).hexdigest()[:20]

    def marked(self) -> RgbImage:
        """The image with each object's outline and number drawn on it, uint8 [H, W, 3]."""
        return numbered(
            with_outlines(self.rgb, [one.mask for one in self.objects], 0.0), [one.mask for one in self.objects]
        )


@dataclass(frozen=True)
class SourcePicture:
    """A picture of a source. `load` reads it and raises InvalidInput if it cannot be used."""

    name: str
    load: Callable[[], LoadedPicture]


def askable(objects: Iterable[ListedObject], most: int = MOST_OBJECTS) -> tuple[ListedObject, ...]:
    """Up to `most` objects, largest first, without tiny ones and duplicates."""
    kept: list[ListedObject] = []
    for one in sorted(objects, key=lambda one: -int(np.count_nonzero(one.mask))):
        if len(kept) == most or np.count_nonzero(one.mask) < LEAST_SHARE * one.mask.size:
            break
        if all(mask_iou(one.mask, other.mask) <= SAME_IOU for other in kept):
            kept.append(one)
    return tuple(kept)


def ignored_mask(targets: Sequence[ListedObject], unlisted: Iterable[ListedObject]) -> BoolMask | None:
    """Pixels to ignore in scoring, bool [H, W]: unlisted objects of the targets' categories. None if there are none.

    COCO's evaluation treats crowds in the same way, per category.
    """
    names = {one.name.casefold() for one in targets if one.name}
    masks = [one.mask for one in unlisted if one.name.casefold() in names]
    if not masks:
        return None
    ignored: BoolMask = np.logical_or.reduce(masks) & ~np.logical_or.reduce([one.mask for one in targets])
    return ignored if ignored.any() else None


def with_outlines(rgb: RgbImage, masks: Iterable[BoolMask], alpha: float) -> RgbImage:
    """A copy of `rgb`, uint8 [H, W, 3], with each mask, bool [H, W], outlined and filled with opacity `alpha`."""
    regions = []
    for mask in masks:
        box = mask_box(mask)
        if box is not None:
            regions.append(Region(mask, box, Grounding(box), 1.0, 1.0, 1.0, 0, 1))
    return draw(rgb, regions, alpha)

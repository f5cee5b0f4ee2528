"""Pictures from image files with masks of `reasonseg segment-everything --json`. The model names the objects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from reasonseg_ros.data_engine.pictures import ListedObject, LoadedPicture, SourcePicture, askable
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.coco_masks import segmentation_mask
from reasonseg_ros.evaluation.datasets.pictures import read_picture
from reasonseg_ros.faults import reason
from reasonseg_ros.files.strict_json import read_json_file

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
LARGEST_SHARE = 0.5
"""Maximum share of the picture that a mask covers. A larger one is a wall or a table rather than an object."""


def everything_pictures(folder: Path) -> list[SourcePicture]:
    """The images X.jpg, X.jpeg and X.png of a folder that have an X.json, by name. Raises InvalidInput without any."""
    try:
        images = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be read: {error.strerror}; name a folder with images") from error
    found = [path for path in images if path.with_suffix(".json").is_file()]
    if not found:
        how = "make one for each image with `reasonseg segment-everything X.jpg --json X.json`"
        raise InvalidInput(f"no image of {folder} has a JSON file with masks beside it; {how}")
    return [SourcePicture(path.name, partial(_load, path)) for path in found]


def _load(path: Path) -> LoadedPicture:
    image = read_picture(path)
    records = read_json_file(path.with_suffix(".json"))
    if not isinstance(records, list):
        raise InvalidInput(f"{path.with_suffix('.json')} holds no list of masks; write it with --json")
    return LoadedPicture(image, *_objects(records, image.size_wh))


def _objects(records: Sequence[object], size_wh: tuple[int, int]) -> tuple[tuple[ListedObject, ...], tuple[str, ...]]:
    objects, problems = [], []
    for number, record in enumerate(records, 1):
        try:
            if not isinstance(record, dict):
                raise InvalidInput("it is no object with a segmentation")
            mask, broken = segmentation_mask(record.get("segmentation"), size_wh)
        except Exception as error:  # a damaged record fails itself only
            problems.append(f"mask {number}: {reason(error)}")
        else:
            problems += [f"mask {number}: {line}" for line in broken]
            if mask.mean() <= LARGEST_SHARE:
                objects.append(ListedObject(mask))
    return askable(objects), tuple(problems)

"""Pictures from a file in the format of COCO and LVIS: `images`, `annotations` and `categories`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from reasonseg_ros.data_engine.pictures import ListedObject, LoadedPicture, SourcePicture, askable
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.coco_masks import segmentation_mask
from reasonseg_ros.evaluation.datasets.image_folders import find_image
from reasonseg_ros.evaluation.datasets.json_files import by_id, flag, plain_id, read_json
from reasonseg_ros.evaluation.datasets.pictures import check_stated_size, read_picture
from reasonseg_ros.faults import reason


def coco_pictures(path: Path, folders: Sequence[Path]) -> list[SourcePicture]:
    """The images in the order of the file. `folders` hold the image files.

    The `synonyms` of a category (LVIS) are other names of it. There are no questions about crowds. Raises InvalidInput
    if the file cannot be read or has no image.
    """
    content = read_json(path)
    images, annotations, categories = (
        [entry for entry in _list(content, name, path) if isinstance(entry, dict)]
        for name in ("images", "annotations", "categories")
    )
    if not images:
        raise InvalidInput(f"{path} names no image; give a COCO-style file with images, annotations and categories")
    known, clear = by_id(categories), by_id(images)
    of_image: dict[str, list[dict[str, Any]]] = {}
    for entry in annotations:
        of_image.setdefault(plain_id(entry.get("image_id")), []).append(entry)
    if annotations and of_image.keys().isdisjoint(clear):
        raise InvalidInput(
            f"no image_id of an annotation is the id of an image in {path}, such as {images[0].get('id')!r:.40} and "
            f"{annotations[0].get('image_id')!r:.40}; write the ids alike in both lists"
        )
    pictures = []
    for number, image in enumerate(images):
        name, its_id = _file_name(image) or f"image {number}", plain_id(image.get("id"))
        if its_id in clear:
            pictures.append(SourcePicture(name, partial(_load, name, image, of_image.get(its_id, []), known, folders)))
        else:
            why = f"other images have its id {its_id:.40} too" if its_id else f"its id is {image.get('id')!r:.40}"
            pictures.append(SourcePicture(name, partial(_refuse, f"{why}, so its annotations cannot be assigned")))
    if lost := of_image.get(""):
        why = f"{len(lost)} annotations name no image, for example by {lost[0].get('image_id')!r:.40}; write its id"
        pictures.append(SourcePicture(path.name, partial(_refuse, why)))
    return pictures


def _load(
    name: str,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    categories: Mapping[str, Mapping[str, Any]],
    folders: Sequence[Path],
) -> LoadedPicture:
    encoded = read_picture(find_image(name, folders))
    check_stated_size(encoded, image.get("width"), image.get("height"))
    problems: list[str] = []
    objects: list[ListedObject] = []
    crowds: list[ListedObject] = []
    for number, annotation in enumerate(annotations, 1):
        name = f"annotation {annotation.get('id', number)!s:.40}"
        try:
            is_crowd = flag(annotation.get("iscrowd"), "iscrowd")
            found, broken = _object(annotation, categories, encoded.size_wh)
        except Exception as error:  # a damaged annotation fails its own object only
            problems.append(f"{name}: {reason(error)}")
        else:
            (crowds if is_crowd else objects).append(found)
            problems += [f"{name}: {line}" for line in broken]
    listed = askable(objects)
    unlisted = [one for one in objects if all(one is not other for other in listed)]
    return LoadedPicture(encoded, listed, tuple(problems), (*crowds, *unlisted))


def _object(
    annotation: Mapping[str, Any], categories: Mapping[str, Mapping[str, Any]], size_wh: tuple[int, int]
) -> tuple[ListedObject, tuple[str, ...]]:
    """The object, and a line for each damaged part of its mask that was left out. Raises InvalidInput."""
    category = categories.get(plain_id(annotation.get("category_id")))
    name = "" if category is None else category.get("name")
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(
            f"category {annotation.get('category_id')!r:.40} has no name, or two; name it once in the categories"
        )
    mask, broken = segmentation_mask(annotation.get("segmentation"), size_wh)
    listed = category.get("synonyms") if category else None
    synonyms = [other for other in listed if isinstance(other, str)] if isinstance(listed, list) else []
    others = tuple(_plain(other) for other in synonyms if _plain(other) != _plain(name))
    return ListedObject(mask, _plain(name), others), broken


def _refuse(why: str) -> LoadedPicture:
    raise InvalidInput(why)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _file_name(image: Mapping[str, Any]) -> str:
    """The image's file name. LVIS has only its address."""
    if isinstance(image.get("file_name"), str):
        return str(image["file_name"])
    address = image.get("coco_url")
    return PurePosixPath(address).name if isinstance(address, str) else ""


def _list(content: Mapping[str, Any], name: str, path: Path) -> Iterator[Any]:
    found = content.get(name)
    if not isinstance(found, list):
        raise InvalidInput(
            f"{path} has no list {name!r}; give a COCO-style file with images, annotations and categories"
        )
    return iter(found)

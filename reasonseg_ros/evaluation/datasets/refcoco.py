"""RefCOCO, RefCOCO+ and RefCOCOg: `SET/refs(BY).p` with the expressions, `SET/instances.json` with the masks.

Sources: Yu et al., Modeling Context in Referring Expressions, ECCV 2016; Mao et al., Generation and Comprehension of
Unambiguous Object Descriptions, CVPR 2016.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.coco_masks import segmentation_mask
from reasonseg_ros.evaluation.datasets.image_folders import find_image
from reasonseg_ros.evaluation.datasets.json_files import by_id, plain_id, read_json
from reasonseg_ros.evaluation.datasets.pictures import check_stated_size, read_picture
from reasonseg_ros.evaluation.datasets.records import Item, LabelledQuestion, Picture, gather, unusable
from reasonseg_ros.files.bounded import read_data

IMAGE_FOLDERS = ("images/mscoco/images/train2014", "images/train2014", "train2014", "images")


def refcoco_items(folder: Path, name: str, by: str, split: str, images: Sequence[Path] = ()) -> list[Item]:
    """The images of one split in the order of the expressions, each with every expression about it.

    `folder` holds `name` ("refcoco", "refcoco+" or "refcocog"); `by` is who split it: "unc", "google" or "umd".
    `images` are folders to look for the images of COCO 2014 in, before IMAGE_FOLDERS in `folder`. Raises InvalidInput.
    """
    refs = read_refs(folder / name / f"refs({by}).p")
    instances = read_json(folder / name / "instances.json")
    chosen = [ref for ref in refs if ref.get("split") == split]
    if not chosen:
        known = ", ".join(sorted({str(ref.get("split")) for ref in refs}))
        raise InvalidInput(f"{folder / name} has no expressions of split {split!r}; it has {known or 'none'}")
    try:
        annotations, pictures = by_id(instances["annotations"]), by_id(instances["images"])
        names = {picture_id: str(entry["file_name"]) for picture_id, entry in pictures.items()}
    except (KeyError, TypeError, AttributeError) as error:
        path = folder / name / "instances.json"
        raise InvalidInput(f"{path} is not as published ({error!r}); get it from the data set again") from error
    by_image: dict[str, list[dict[str, Any]]] = {}
    for ref in chosen:
        by_image.setdefault(plain_id(ref["image_id"]), []).append(ref)
    places = [*images, *(folder / place for place in IMAGE_FOLDERS)]
    items = []
    for image_id, about in by_image.items():
        if image_id in names:
            load = partial(_load, names[image_id], pictures[image_id], about, annotations, places)
            items.append(Item(f"{split}/{names[image_id]}", (load,)))
        else:
            reason = f"image {image_id} is missing or repeated in instances.json; get both files from the same source"
            items.append(unusable(f"{split}/image {image_id}", reason))
    return items


def read_refs(path: Path) -> list[dict[str, Any]]:
    """The expressions of a pickle file, which is not trusted: only plain values are accepted.

    Raises InvalidInput if the file is missing, damaged, or asks for anything else.
    """
    try:
        data = read_data(path)
    except OSError as error:
        remedy = "choose --set and --by of a file there"
        raise InvalidInput(f"{path} cannot be read ({error.strerror}); {remedy}") from error
    try:
        refs = _load_plain(data)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    entries: list[Any] = refs if isinstance(refs, list) else [None]
    for number, ref in enumerate(entries):
        if not _is_ref(ref):
            raise InvalidInput(f"{path}: entry {number} is no reference as published; get it from the data set again")
    return entries


def _is_ref(ref: Any) -> bool:
    """Whether an entry has ids that are numbers and sentences that are objects."""
    if not isinstance(ref, dict) or not all(isinstance(ref.get(key), int) for key in ("ref_id", "ann_id", "image_id")):
        return False
    sentences = ref.get("sentences")
    return isinstance(sentences, list) and all(isinstance(sentence, dict) for sentence in sentences)


class _PlainUnpickler(pickle.Unpickler):
    """Loads lists, dictionaries, text and numbers. A pickle that asks for a class could run any code; it is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise InvalidInput(f"it asks for the class {module}.{name}, which such a file never needs; do not trust it")


def _load_plain(data: bytes) -> Any:
    # The files come from Python 2, whose text has no encoding. latin-1 decodes every byte.
    for encoding in ("utf-8", "latin-1"):
        try:
            return _PlainUnpickler(io.BytesIO(data), encoding=encoding).load()
        except InvalidInput:
            raise
        except UnicodeDecodeError as error:
            failure: Exception = error
        except Exception as error:  # a damaged pickle raises nearly anything
            failure = error
            break
    raise InvalidInput(f"it is damaged ({failure!r}); get it from the data set again") from failure


def _load(
    name: str,
    stated: Mapping[str, Any],
    refs: Sequence[dict[str, Any]],
    annotations: Mapping[str, Mapping[str, Any]],
    places: Sequence[Path],
) -> Picture:
    image = read_picture(find_image(name, places))
    check_stated_size(image, stated.get("width"), stated.get("height"))

    def question(ref: dict[str, Any], number: int, question_id: str) -> LabelledQuestion:
        annotation = annotations.get(plain_id(ref["ann_id"]))
        if annotation is None:
            raise InvalidInput(
                f"annotation {ref['ann_id']} is missing or repeated in instances.json; get both from one source"
            )
        if plain_id(annotation.get("image_id", ref["image_id"])) != plain_id(ref["image_id"]):
            raise InvalidInput(f"annotation {ref['ann_id']} is of image {annotation['image_id']}; get both again")
        mask, broken = segmentation_mask(annotation.get("segmentation"), image.size_wh)
        text = str(ref["sentences"][number].get("sent") or "")
        return LabelledQuestion(question_id, text, mask, broken_shapes=() if number else broken)  # once an object

    makers = []
    for ref in refs:
        for number, sentence in enumerate(ref["sentences"]):
            question_id = f"{ref['ref_id']}-{sentence.get('sent_id', number)}"
            makers.append((f"expression {question_id}", partial(question, ref, number, question_id)))
    if not makers:
        raise InvalidInput("it has no expressions; get refs and instances from the data set again")
    return gather(image, makers)

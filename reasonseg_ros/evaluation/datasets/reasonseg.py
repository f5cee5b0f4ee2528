"""ReasonSeg: `{train,val,test}/X.jpg` beside `X.json` with the texts, `is_sentence` and polygons.

Source: Lai et al., LISA: Reasoning Segmentation via Large Language Model, CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.json_files import flag, read_json
from reasonseg_ros.evaluation.datasets.pictures import check_stated_size, read_picture
from reasonseg_ros.evaluation.datasets.polygons import IGNORE, TARGET, draw_shapes
from reasonseg_ros.evaluation.datasets.records import Item, LabelledQuestion, Picture, gather, unusable

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")


def reasonseg_items(folder: Path, split: str, all_texts: bool = False) -> list[Item]:
    """The samples of one split in the order of their names. Raises InvalidInput if the split is not there.

    Only the first text of a sample is evaluated by its authors; `all_texts` takes the others as questions too.
    """
    return annotated_items(folder, split, all_texts, kind_of=lambda _: "")


def annotated_items(folder: Path, split: str, all_texts: bool, kind_of: Callable[[dict[str, Any]], str]) -> list[Item]:
    """As `reasonseg_items`; `kind_of` reads the kind of question from the annotation, or raises InvalidInput."""
    base = folder / split
    if not base.is_dir():
        found = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())) if folder.is_dir() else ""
        raise InvalidInput(f"there is no folder {base}; choose a --split of it{f' ({found})' if found else ''}")
    images: dict[str, list[Path]] = {}
    for path in sorted(base.iterdir()):
        if path.suffix.lower() in IMAGE_ENDINGS:
            images.setdefault(path.stem, []).append(path)
        elif path.suffix.lower() == ".json":
            images.setdefault(path.stem, [])
    if not images:
        raise InvalidInput(f"{base} holds no annotated images; expected X.jpg beside X.json")
    items = []
    for stem, paths in sorted(images.items()):
        if len(paths) > 1:
            several = ", ".join(path.name for path in paths)
            items.append(unusable(f"{split}/{stem}", f"{several} share one annotation; keep one of them"))
        else:
            path = paths[0] if paths else base / f"{stem}.jpg"
            items.append(Item(f"{split}/{stem}", (partial(_load, path, all_texts, kind_of),)))
    return items


def _load(image_path: Path, all_texts: bool, kind_of: Callable[[dict[str, Any]], str]) -> Picture:
    path = image_path.with_suffix(".json")
    annotation = read_json(path)
    image = read_picture(image_path)
    check_stated_size(image, annotation.get("imageWidth"), annotation.get("imageHeight"))
    texts, shapes = annotation.get("text"), annotation.get("shapes")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidInput(f"{path} has no 'text'; expected a list of questions")
    if not isinstance(shapes, list):
        raise InvalidInput(f"{path} has no 'shapes'; expected a list of polygons")
    kind, is_sentence = kind_of(annotation), flag(annotation.get("is_sentence"), "is_sentence")
    labels, broken = draw_shapes(shapes, image.size_wh)

    def question(number: int) -> LabelledQuestion:
        return LabelledQuestion(
            path.stem if number == 0 else f"{path.stem}-{number}",
            texts[number],
            labels == TARGET,
            labels == IGNORE,
            kind,
            is_sentence=is_sentence,
            broken_shapes=broken if number == 0 else (),  # once a sample, however many ask about it
        )

    asked = range(len(texts) if all_texts else 1)
    return gather(image, [(f"text {number + 1}", partial(question, number)) for number in asked])

"""LLM-Seg40K: one JSON file per split, from image names to questions with their answers and masks.

    {"000000123456.jpg": {"from_dataset": "coco", "qa_pairs": [{"question": ..., "answer": ..., MASK}, ...]}, ...}

MASK is `segmentation` (COCO's run lengths or polygons) or `segmentation_path` (a PNG, nonzero inside the mask).
Source: Wang and Ke, LLM-Seg: Bridging Image Segmentation and Large Language Model Reasoning, CVPR Workshops 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.coco_masks import segmentation_mask
from reasonseg_ros.evaluation.datasets.image_folders import find_image
from reasonseg_ros.evaluation.datasets.json_files import read_json
from reasonseg_ros.evaluation.datasets.mask_images import mask_values
from reasonseg_ros.evaluation.datasets.pictures import read_picture
from reasonseg_ros.evaluation.datasets.records import Item, LabelledQuestion, Picture, gather
from reasonseg_ros.files.bounded import read_data
from reasonseg_ros.types import BoolMask

IMAGE_FOLDERS = ("", "images", "train2017", "coco", "egoobjects", "ego_objects")


def llm_seg40k_items(folder: Path, split: str, images: Sequence[Path] = ()) -> list[Item]:
    """The images of `folder/split.json` in its order. Raises InvalidInput if that cannot be read.

    `images` are folders to look for the image files in, before those of IMAGE_FOLDERS in `folder`.
    """
    entries = read_json(folder / f"{split}.json")
    if not entries:
        raise InvalidInput(f"{folder / split}.json names no image; get it from the data set again")
    places = [*images, *(folder / name for name in IMAGE_FOLDERS)]
    return [Item(name, (partial(_load, name, entry, folder, places),)) for name, entry in entries.items()]


def _load(name: str, entry: Any, folder: Path, places: Sequence[Path]) -> Picture:
    pairs = entry.get("qa_pairs") if isinstance(entry, dict) else None
    if not isinstance(pairs, list) or not pairs:
        raise InvalidInput("it has no 'qa_pairs'; expected a list of questions")
    image = read_picture(find_image(name, places))

    def question(number: int, pair: Any) -> LabelledQuestion:
        if not isinstance(pair, dict):
            raise InvalidInput(f"it is {pair!r:.60}; expected an object with 'question'")
        mask, broken = _mask(pair, folder, image.size_wh)
        # The set consists of sentences, 15 words long on average.
        question_id = f"{Path(name).with_suffix('').as_posix()}-{number}"  # two folders may have images of one name
        return LabelledQuestion(
            question_id, str(pair.get("question") or ""), mask, thought=str(pair.get("answer") or ""),
            is_sentence=True, broken_shapes=broken,
        )  # fmt: skip

    makers = [(f"question {number}", partial(question, number, pair)) for number, pair in enumerate(pairs)]
    return gather(image, makers)


def _mask(pair: dict[str, Any], folder: Path, size_wh: tuple[int, int]) -> tuple[BoolMask, tuple[str, ...]]:
    if "segmentation" in pair:
        return segmentation_mask(pair["segmentation"], size_wh)
    if pair.get("segmentation_path"):
        path = find_image(str(pair["segmentation_path"]), [folder])
        return _marked(path), ()
    raise InvalidInput("it has neither 'segmentation' nor 'segmentation_path'; get the annotation again")


def _marked(path: Path) -> BoolMask:
    """The nonzero pixels of a mask file of any bit depth."""
    try:
        marked: BoolMask = mask_values(read_data(path), str(path)) != 0
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    return marked

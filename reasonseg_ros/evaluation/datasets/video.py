"""Videos with expressions: ReasonVOS, ReVOS, MeViS and Ref-DAVIS17.

All have `JPEGImages/VIDEO/FRAME.jpg` and a file of expressions:

    {"videos": {VIDEO: {"frames": [FRAME, ...], "expressions": {ID: {...}, ...}}, ...}}

It is `meta_expressions.json`, or, in ReVOS, `meta_expressions_SPLIT_.json`. In ReasonVOS the expressions may be a list
whose entries have their own `exp_id`.

There are three layouts of masks, by which the set is recognised:

- MeViS, ReVOS: `mask_dict.json`, from each of an expression's `anno_id` to one run-length object (or null) per frame;
- Ref-DAVIS17: `Annotations/VIDEO/FRAME.png` with a palette, whose index is the expression's `obj_id` (255: ignored);
- ReasonVOS: `Annotations/SOURCE_VIDEO_OBJ/FRAME.png`, nonzero inside the mask.

Sources: Bai et al., One Token to Seg Them All, NeurIPS 2024; Yan et al., VISA, ECCV 2024; Ding et al., MeViS, ICCV
2023; Khoreva et al., Video Object Segmentation with Language Referring Expressions, ACCV 2018.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.coco_masks import rle_mask
from reasonseg_ros.evaluation.datasets.image_folders import find_image
from reasonseg_ros.evaluation.datasets.json_files import flag, read_json
from reasonseg_ros.evaluation.datasets.mask_images import Values, mask_values
from reasonseg_ros.evaluation.datasets.pictures import read_picture
from reasonseg_ros.evaluation.datasets.records import Item, LabelledQuestion, Picture, QuestionMaker, gather, unusable
from reasonseg_ros.files.bounded import read_data
from reasonseg_ros.types import BoolMask

KINDS = {"0": "referring", "1": "reasoning", "2": "nonexistent"}
"""Meaning of `type_id` in ReVOS."""

VOID = 255
"""Palette index of DAVIS for pixels that its evaluation ignores."""

Masks = Callable[[int, str, tuple[int, int]], "tuple[BoolMask, BoolMask | None] | None"]
"""Mask and ignored pixels of an expression on a frame, given by its number, its name and the image's size.

None if the frame is not labelled.
"""


def video_items(folder: Path, split: str) -> list[Item]:
    """The videos of a set, with one load per frame. Raises InvalidInput if the set is not laid out as above.

    `split` may be a separate folder, as in MeViS; `meta_expressions.json` may lie in `meta_expressions/SPLIT`, or be
    `meta_expressions_SPLIT_.json`, as in ReVOS.
    """
    base = _base(folder, split)
    expressions = _expressions_file(folder, split)
    videos = read_json(expressions).get("videos")
    if not isinstance(videos, dict) or not videos:
        raise InvalidInput(f"{expressions} has no 'videos'; get it from the data set again")
    mask_dict = base / "mask_dict.json"
    runs = read_json(mask_dict) if mask_dict.is_file() else None
    return [_item(base, name, video, runs) for name, video in videos.items()]


def video_set(folder: Path, split: str) -> str:
    """Name and split of the published set in a folder, for example `ReVOS valid`; empty if not known."""
    base, expressions = _base(folder, split), _expressions_file(folder, split)
    if expressions.name != "meta_expressions.json":
        return f"ReVOS {split}"
    if (base / "mask_dict.json").is_file():
        return f"MeViS {split}" if split else ""
    videos = read_json(expressions).get("videos")
    if isinstance(videos, dict) and any(isinstance(video, dict) and "source" in video for video in videos.values()):
        return "ReasonVOS"
    return "Ref-DAVIS17 valid" if split == "valid" else ""  # the masks of Refer-YouTube-VOS valid are not published


def _base(folder: Path, split: str) -> Path:
    return folder / split if split and (folder / split / "JPEGImages").is_dir() else folder


def _expressions_file(folder: Path, split: str) -> Path:
    """The file of a split's expressions. Raises InvalidInput with the available splits if there is none."""
    name = "meta_expressions.json"
    places = [_base(folder, split), folder / "meta_expressions" / split]
    candidates = [place / name for place in places]
    if split:
        candidates.append(folder / f"meta_expressions_{split}_.json")
    for path in candidates:
        if path.is_file():
            return path
    others = folder.glob("meta_expressions_*_.json")
    splits = sorted(path.stem.removeprefix("meta_expressions_").rstrip("_") for path in others)
    text = f"there is no {name} in {' or '.join(map(str, places))}"
    found = f" of it ({', '.join(splits)})" if splits else ""
    raise InvalidInput(f"{text}; choose another folder or --split{found}")


def _item(base: Path, name: str, video: Any, runs: dict[str, Any] | None) -> Item:
    frames = video.get("frames") if isinstance(video, dict) else None
    stated = video.get("expressions") if isinstance(video, dict) else None
    if not isinstance(frames, list) or not frames or not isinstance(stated, (dict, list)) or not stated:
        return unusable(name, "it has no 'frames' or no 'expressions'; get meta_expressions.json again")
    named = [*name.split("/"), *frames]  # ReVOS may keep the videos of each of its sources in a folder
    odd = next((value for value in named if not _is_file_name(value)), None)
    if odd is not None:
        return unusable(name, f"{odd!r:.60} is no name of a file; get meta_expressions.json again")
    if not (base / "JPEGImages" / name).is_dir():
        return unusable(name, f"there is no folder {base / 'JPEGImages' / name}; get its frames from the data set")
    makers = [_expression(base, name, video, key, value, runs) for key, value in _with_ids(stated)]
    return Item(name, tuple(partial(_load, base, name, frame, n, makers) for n, frame in enumerate(frames)))


def _with_ids(stated: dict[str, Any] | list[Any]) -> list[tuple[str, Any]]:
    """The expressions of a video with their ids: `exp_id` where an entry has one, otherwise its key or its place.

    An `exp_id` that several entries of a video share counts within the object: `OBJ_ID/EXP_ID`.
    """
    pairs = list(stated.items()) if isinstance(stated, dict) else list(enumerate(stated))
    ids = [str(_own(value, "exp_id", key)) for key, value in pairs]
    shared = {one for one, count in Counter(ids).items() if count > 1}
    found = []
    for one, (_, value) in zip(ids, pairs, strict=True):
        found.append((f"{_own(value, 'obj_id', '')}/{one}" if one in shared else one, value))
    return found


def _own(expression: Any, name: str, default: Any) -> Any:
    """A value of the expression; `default` if it has none."""
    value = expression.get(name) if isinstance(expression, dict) else None
    return default if value is None else value


def _is_file_name(value: Any) -> bool:
    """Whether it is a short text that names a file in a folder."""
    if not isinstance(value, str) or value in (".", ".."):
        return False
    return 0 < len(value) <= 200 and not any(c in "/\0" or "\ud800" <= c <= "\udfff" for c in value)


FrameMaker = tuple[str, Callable[[int, str, tuple[int, int]], "LabelledQuestion | None"]]
"""Name of an expression, and its question on a frame; None if the frame is not labelled."""


def _load(base: Path, video: str, frame: str, number: int, makers: Iterable[FrameMaker]) -> Picture:
    image = read_picture(find_image(f"{video}/{frame}.jpg", [base / "JPEGImages"]))
    labelled: list[QuestionMaker] = []
    unlabelled = 0
    for name, make in makers:
        try:
            question = make(number, frame, image.size_wh)
        except Exception as error:
            labelled.append((name, partial(_refuse, error)))
        else:
            if question is None:
                unlabelled += 1
            else:
                labelled.append((name, partial(_same, question)))
    return gather(image, labelled, unlabelled)


def _refuse(error: Exception) -> LabelledQuestion:
    raise error


def _same(question: LabelledQuestion) -> LabelledQuestion:
    return question


def _expression(
    base: Path, video: str, meta: dict[str, Any], key: str, value: Any, runs: dict[str, Any] | None
) -> FrameMaker:
    name = f"expression {key}"
    text = str(value.get("exp") or value.get("exp_text") or "") if isinstance(value, dict) else ""
    try:
        masks = _masks(base, video, meta, value if isinstance(value, dict) else {}, runs)
    except InvalidInput as error:
        return name, partial(_no_masks, error)
    type_id = _own(value, "type_id", None)
    # ReVOS has no `is_sent`. Its authors take a text with a question mark for a sentence.
    stated = _own(value, "is_sent", meta.get("is_sent", type_id is not None and text.endswith("?")))
    try:
        is_sentence = flag(stated, "is_sent")
    except InvalidInput as error:
        return name, partial(_no_masks, error)
    kind = "" if type_id is None else KINDS.get(str(type_id), str(type_id)[:40])

    def question(number: int, frame: str, size_wh: tuple[int, int]) -> LabelledQuestion | None:
        found = masks(number, frame, size_wh)
        if found is None:
            return None
        return LabelledQuestion(f"{video}/{key}", text, *found, kind=kind, is_sentence=is_sentence)

    return name, question


def _no_masks(error: InvalidInput, *_: object) -> LabelledQuestion:
    raise error


def _masks(base: Path, video: str, meta: dict[str, Any], expression: dict[str, Any], runs: Any) -> Masks:
    """The reader of an expression's masks. Raises InvalidInput if there is no mask on any frame."""
    if runs is not None:
        ids = expression.get("anno_id")
        ids = ids if isinstance(ids, list) else [ids]
        missing = [key for key in ids if not isinstance(runs.get(str(key)), list)]
        if missing:
            raise InvalidInput(f"mask_dict.json has no masks {missing}; use a split with published masks")
        frames = len(meta["frames"])
        for key in ids:
            if (count := len(runs[str(key)])) != frames:
                raise InvalidInput(
                    f"mask_dict.json has {count} masks {key} for {frames} frames, so it is not known which belong "
                    "together; get it and meta_expressions.json from one source"
                )
        return partial(_from_runs, [runs[str(key)] for key in ids])
    object_id = str(expression.get("obj_id"))
    source = str(_own(expression, "source", meta.get("source")))
    if not _is_file_name(source) or not _is_file_name(object_id):
        raise InvalidInput(f"source {source:.60} or obj_id {object_id:.60} is no name; get meta_expressions.json again")
    own = base / "Annotations" / f"{source}_{video}_{object_id}"
    # The set's tools write the source in lower case in one place and unchanged in another.
    for folder in (own, own.with_name(f"{source.lower()}_{video}_{object_id}")):
        if folder.is_dir():
            return _png_masks(folder, None, meta)
    shared = base / "Annotations" / video
    if not shared.is_dir():
        raise InvalidInput(f"no masks in {own} or {shared}; use a split with published masks")
    if not object_id.isdecimal():
        raise InvalidInput(f"its obj_id is {object_id}; expected the number of an object in the palette")
    return _png_masks(shared, int(object_id), meta)


def _png_masks(folder: Path, index: int | None, meta: dict[str, Any]) -> Masks:
    labelled = [folder / f"{frame}.png" for frame in meta["frames"] if (folder / f"{frame}.png").is_file()]
    if not labelled:
        raise InvalidInput(f"none of its frames has a mask in {folder}; use a split with published masks")
    return partial(_from_pngs, folder, index, tuple(labelled))


def _from_runs(
    objects: list[list[Any]], number: int, frame: str, size_wh: tuple[int, int]
) -> tuple[BoolMask, BoolMask | None] | None:
    union = np.zeros(size_wh[::-1], bool)
    for runs in objects:
        if runs[number]:  # null, in ReVOS also an empty object: the object is not in this frame
            if not isinstance(runs[number], dict):
                raise InvalidInput(f"frame {frame} of mask_dict.json holds {runs[number]!r:.40}; get it again")
            union |= rle_mask(runs[number], size_wh)
    return union, None


def _from_pngs(
    folder: Path, index: int | None, labelled: tuple[Path, ...], number: int, frame: str, size_wh: tuple[int, int]
) -> tuple[BoolMask, BoolMask | None] | None:
    path = folder / f"{frame}.png"
    if path not in labelled:
        return None
    values = _values(path)
    if index is None:
        return values != 0, None
    if index not in (known := _indices_of(labelled)):
        stated = ", ".join(map(str, sorted(known)[:10])) or "nothing"
        raise InvalidInput(f"object {index} is on none of the masks in {folder}, which hold {stated}; get them again")
    void = values == VOID
    return values == index, void if index != VOID and void.any() else None


@lru_cache(maxsize=4)
def _indices_of(paths: tuple[Path, ...]) -> frozenset[int]:
    """The nonzero values in all masks of a video. Damaged masks are skipped here, and reported when they are read."""
    found: set[int] = set()
    for path in paths:
        with suppress(InvalidInput):
            found.update(np.unique(_read(path)).tolist())
    return frozenset(found - {0})


@lru_cache(maxsize=1)  # several expressions are about objects of the same file
def _values(path: Path) -> Values:
    return _read(path)


def _read(path: Path) -> Values:
    try:
        data = read_data(path)
    except OSError as error:
        raise InvalidInput(f"the mask {path} cannot be read: {error.strerror}") from error
    return mask_values(data, f"the mask {path}")

"""Writes the model card of a checkpoint's folder, with the files that it names."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.documents import UnreadableDocument, read_yaml_document
from reasonseg_ros.model_card import ModelCard

_WRITTEN = ("licence", "url", "commercial_use", "knows")
_WRITTEN_OF = {
    "segmenter": ("multimask", "needs_boxes", "refine"),
    "reasoner": ("dialect", "image_size_wh", "min_pixels", "max_pixels", "coordinates", "prompt", "system",
                 "frames_prompt", "frame_name", "frames", "frames_size_wh", "max_new_tokens"),
}  # fmt: skip
"""What a written card says besides the files that it names. An export's size is fixed in its graphs."""


def write_card(card: ModelCard, folder: Path) -> None:
    """Write `card.yaml`, so that the path of a checkpoint's folder can be used as its name.

    The files that the card names are copied into the folder, which may be moved. Raises ModelError if one cannot be
    read.
    """
    values = {key: getattr(card, key) for key in (*_WRITTEN, *_WRITTEN_OF[card.kind])}
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    if card.known_picture:
        values["known_picture"] = _with_picture(card.known_picture, folder)
    if card.vocabulary:
        values["vocabulary"] = _copied(Path(card.vocabulary), folder / "vocabulary.txt")
    text = yaml.safe_dump({"kind": card.kind, "source": ".", **values}, sort_keys=False, allow_unicode=True)
    (folder / "card.yaml").write_text(text, encoding="utf-8")


def _with_picture(known_picture: str, folder: Path) -> str:
    """Copy a known picture, its YAML file and its image, into the folder. Returns the card's value."""
    path = Path(known_picture)
    if not path.is_absolute():  # `none`
        return known_picture
    try:
        values = read_yaml_document(path)
        image = path.parent / values["image"]
    except (UnreadableDocument, KeyError, TypeError) as error:
        raise ModelError(f"known picture {path} cannot be read: {error}") from error
    values["image"] = _copied(image, folder / f"known_picture{image.suffix}")
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    (folder / "known_picture.yaml").write_text(text, encoding="utf-8")
    return "./known_picture.yaml"


def _copied(source: Path, target: Path) -> str:
    """Copy a file that a card names. Returns its path in a card beside it."""
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise ModelError(f"{source}, which the model card names, cannot be copied: {error.strerror}") from error
    return f"./{target.name}"

"""Finds the images of an annotation file that names them without their folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reasonseg_ros.errors import InvalidInput


def find_image(name: str, folders: Sequence[Path]) -> Path:
    """The file `name` in the first of `folders` that has it. Raises InvalidInput if none does."""
    relative = Path(name)
    if not name or relative.is_absolute() or ".." in relative.parts:
        raise InvalidInput(f"the image name {name!r} leads out of the data set; get the annotation again")
    for folder in folders:
        try:
            if (folder / relative).is_file():
                return folder / relative
        except OSError as error:  # a name too long, a folder that may not be entered
            raise InvalidInput(f"the image {name:.80} cannot be looked up in {folder}: {error.strerror}") from error
    places = ", ".join(map(str, folders))
    raise InvalidInput(f"the image {name} is missing; it is in none of {places}; name its folder with --images")

"""Outputs of a command. They are declared with their options, and checked before any long work."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.faults import remedy_of

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")
LONGEST_NAME_BYTES = 255


@dataclass(frozen=True)
class Output:
    """An option for an output path.

    Attributes:
        option: its name for messages, such as `--out`.
        name: attribute of the parsed value.
        kind: `folder`, `new_folder` (must not exist unless --force is given) or `file`.
        endings: allowed endings of a file; empty for any.
    """

    option: str
    name: str
    kind: str
    endings: tuple[str, ...] = ()


def add_output(
    parser: argparse.ArgumentParser, option: str, kind: str, endings: Sequence[str] = (), **values: Any
) -> None:
    """Add an option for a path that is written; `check_outputs` checks it before the command runs."""
    action = parser.add_argument(option, type=Path, **values)
    known = parser.get_default("outputs") or ()
    parser.set_defaults(outputs=(*known, Output(option, action.dest, kind, tuple(endings))))


def check_outputs(settings: argparse.Namespace) -> None:
    """Raises InvalidInput if an output cannot be written, or would destroy what the command reads.

    Leaves no files and creates no folders.
    """
    outputs: Sequence[Output] = getattr(settings, "outputs", ())
    inputs = _inputs(settings, {output.name for output in outputs})
    for output in outputs:
        path = getattr(settings, output.name)
        if path is not None:
            _check(output, path, bool(getattr(settings, "force", False)))
            _check_apart(output, path, inputs)


def _inputs(settings: argparse.Namespace, outputs: Collection[str]) -> list[Path]:
    """The files and folders that the command reads: every path that exists and is no output."""
    found: list[Path] = []
    for name, value in vars(settings).items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if name not in outputs:
            found += [one for one in values if isinstance(one, Path) and "\0" not in str(one) and os.path.exists(one)]
    return found


def _check_apart(output: Output, path: Path, inputs: Sequence[Path]) -> None:
    """Raises InvalidInput if the output is one of the inputs, or a folder in a bag that is read."""
    out = path.resolve()
    for one in inputs:
        named = f"{output.option} {path} cannot be written: "
        whole = one.resolve()
        if out == whole and (whole.is_file() or whole.is_dir()):  # not a device, which may be read and written
            raise InvalidInput(f"{named}the command reads {one}, which that would overwrite; choose another place")
        if output.kind != "file" and whole in out.parents and (whole / "metadata.yaml").is_file():
            raise InvalidInput(f"{named}it is in the bag {one}; choose a place outside of it")


def _check(output: Output, path: Path, force: bool) -> None:
    named = f"{output.option} {path}"
    if output.endings and path.suffix.lower() not in output.endings:
        endings = " or ".join(output.endings)
        raise InvalidInput(f"{named} cannot be written: its ending {path.suffix!r} is not known; use {endings}")
    if "\0" in str(path) or max(len(os.fsencode(part)) for part in path.absolute().parts) > LONGEST_NAME_BYTES:
        raise InvalidInput(f"{named!r:.300} is not a possible file name; choose a shorter one")
    try:
        problem = _problem(output.kind, path, force)
    except OSError as error:
        problem = f"{error.strerror}; {remedy_of(error)}"
    if problem:
        raise InvalidInput(f"{named} cannot be written: {problem}")


def _problem(kind: str, path: Path, force: bool) -> str:
    """Why a path cannot be written; empty if it can. May raise OSError instead."""
    exists = _exists(path)
    folder = path.absolute()
    if kind == "file":
        if exists and path.is_dir():
            return "it is a folder; name a file in it"
        if exists and not os.access(path, os.W_OK):
            return "it is write-protected; choose another file"
        if exists and not path.is_file():
            return ""  # a device or a pipe, which is written without a temporary file
        folder = folder.parent
    elif exists and not path.is_dir():
        return "it is a file; name a folder"
    elif kind == "new_folder":
        if exists and not force:
            return "it exists; choose another place or pass --force"
        folder = folder.parent
    with tempfile.TemporaryFile(dir=_nearest(folder)):
        return ""


def _exists(path: Path) -> bool:
    """As Path.exists, but a part of the path that is a file, or a name that is too long, raises OSError."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not _exists(folder):
        folder = folder.parent
    return folder

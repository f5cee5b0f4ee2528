"""The folder of a run: which run it holds, and whether it can be continued."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.bounded import read_data
from reasonseg_ros.files.strict_json import json_text, parse_json
from reasonseg_ros.files.whole_file import remove_unfinished, whole_file

LINES = "results.jsonl"


def begin(out: Path, settings: Mapping[str, Any], resume: bool, command: str = "") -> None:
    """Make the folder of a run and write its settings and command. Raises InvalidInput if it holds another run.

    A run that ended before its first result, for example because a model is missing, is simply replaced.
    """
    path = out / "settings.json"
    if (out / "images").is_symlink():
        raise InvalidInput(f"{out / 'images'} is a symbolic link; remove it, or choose another --out")
    for name in ("settings.json", "results.json", "summary.json", "report.html"):
        remove_unfinished(out, name)
    for folder in (out / "images", *(out / "images").glob("*/")):  # each of several bags has its folder
        remove_unfinished(folder, "*.jpg")
    for_people = out / "results.json"
    if for_people.is_file() and not for_people.is_symlink() and not (out / LINES).exists():
        remedy = "choose another --out, or remove results.json"
        raise InvalidInput(f"{out} holds a run without its {LINES}, which --resume needs; {remedy}")
    if not has_results(out):
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_json(path, {**settings, "command": command})
        except OSError as error:
            raise InvalidInput(f"--out {out} cannot be written: {error.strerror}; choose another folder") from error
    elif not resume:
        raise InvalidInput(f"{out} holds a run already; add --resume to finish it, or choose another --out")
    else:
        _check_same(_settings_in(path, "choose another --out"), settings, out)


def has_results(out: Path) -> bool:
    """Whether a folder holds results from which a run can be continued."""
    try:
        return (out / LINES).stat().st_size > 0
    except OSError:
        return False


def noted_settings(out: Path) -> dict[str, Any]:
    """The settings of the run in a folder, with its `command`, which older runs did not store.

    Raises InvalidInput if they cannot be read.
    """
    remedy = "copy it from where the run was made, beside its results.jsonl"
    return {"command": "(not noted)", **_settings_in(out / "settings.json", remedy)}


def check_same_protocol(*folders: Path) -> None:
    """Raises InvalidInput if the runs in these folders state different scoring protocols."""
    stated = {}
    for out in folders:
        with suppress(InvalidInput):  # results alone can be compared too
            stated[out] = noted_settings(out).get("protocol")
    stated = {out: protocol for out, protocol in stated.items() if protocol}
    if len(set(stated.values())) > 1:
        listed = ", ".join(f"{out} by {protocol}" for out, protocol in stated.items())
        raise InvalidInput(f"the runs are scored by different protocols ({listed}); evaluate both with one --protocol")


def _settings_in(path: Path, remedy: str) -> dict[str, Any]:
    try:
        values = parse_json(read_data(path))
        if not isinstance(values, dict):
            raise InvalidInput("it is no object")
        return values
    except (OSError, InvalidInput) as error:
        raise InvalidInput(f"{path} of the run cannot be read ({error}); {remedy}") from error


def _check_same(before: Mapping[str, Any], settings: Mapping[str, Any], out: Path) -> None:
    now = parse_json(json_text(settings))
    for name in sorted((before.keys() | now.keys()) - {"command"}):
        if before.get(name) != now.get(name):
            noted = _difference(name, before.get(name), now.get(name))
            raise InvalidInput(f"{out} was started with other settings: {noted}; use the same, or another --out")


def _difference(name: str, before: Any, now: Any) -> str:
    """The first value that differs, by its path: `parameters.reasoner.strict was True and is False`."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return f"{name} was {before!r:.300} and is {now!r:.300}"
    key = next(key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key))
    return _difference(f"{name}.{key}", before.get(key), now.get(key))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    text = json_text(values, indent=2)
    with whole_file(path) as file:
        file.write(text + "\n")

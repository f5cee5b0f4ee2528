"""The settings of a training, kept beside its state, so that no other training continues it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from reasonseg_ros import __version__
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.strict_json import json_text, read_json_file
from reasonseg_ros.files.whole_file import whole_file

PLAN = "plan.json"


def begin_or_continue(
    folder: Path, training: str, settings: Mapping[str, Any], has_state: bool, may_change: Collection[str] = ()
) -> None:
    """Compare the settings with those that a training in `folder` began with, and write them to plan.json.

    `training` names the kind of training. Settings in `may_change` are written, but not compared. `has_state` says
    whether the folder has a state to continue from.

    Raises InvalidInput if the folder is of another training, or if the settings of its state are not known.
    """
    import torch

    path = folder / PLAN
    now = {"training": training, **{name: _plain(value) for name, value in settings.items()}}
    if has_state:
        begun = _begun(path)
        if changed := [name for name in now if name not in may_change and begun.get(name) != now[name]]:
            name = changed[0]
            raise InvalidInput(
                f"{folder} holds another training, with {name} {begun.get(name)!r}, not {now[name]!r}; "
                "use its settings, or another folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    versions = {"reasonseg_ros": __version__, "torch": torch.__version__}
    with whole_file(path) as file:
        file.write(json_text({"settings": now, "versions": versions}, indent=2) + "\n")


def check_training(folder: Path, training: str) -> None:
    """Raises InvalidInput if the state in `folder` is not of this kind of training."""
    if (found := _begun(folder / PLAN).get("training")) != training:
        raise InvalidInput(f"{folder} holds another training, {found!r} instead of {training!r}; name its folder")


def _begun(path: Path) -> Mapping[str, Any]:
    """The settings in a plan.json. Raises InvalidInput if there are none."""
    values = read_json_file(path) if path.is_file() else None
    settings = values.get("settings") if isinstance(values, dict) else None
    if not isinstance(settings, dict):
        raise InvalidInput(f"{path.parent} holds a training without its settings in {PLAN}; use another folder")
    return settings


def _plain(value: Any) -> Any:
    """A setting as it is read back from JSON. The path of a file is absolute: it means the same in any folder."""
    if isinstance(value, Path):
        return str(value.resolve() if value.exists() else value)
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value

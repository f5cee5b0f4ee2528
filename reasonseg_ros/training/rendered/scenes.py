"""Rendered tabletop scenes on disk, for training.

A folder holds chunks named `scenes_<first seed>`, each with

    rgb.npy           uint8 [N, H, W, 3]
    instance_ids.npy  uint8 [N, H, W], 0 is the background
    part_ids.npy      uint8 [N, H, W], 0 is the background
    scenes.json       N times {"seed": ..., "objects": [SceneObject fields], "parts": [ScenePart fields]}

A chunk gets its name only when it is complete, so training can read the folder while rendering continues.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.tabletop.scene import Scene, SceneObject, ScenePart
from reasonseg_ros.types import RgbImage

SCENES_PER_CHUNK = 200
SIZE_WH = (320, 240)


@dataclass(frozen=True, eq=False)
class StoredScene:
    """The parts of a scene that training needs. The arrays are read-only views of the files."""

    seed: int
    rgb: RgbImage
    instance_ids: NDArray[np.uint8]
    part_ids: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    parts: tuple[ScenePart, ...]


def write_chunk(scenes: Iterable[Scene], folder: Path) -> None:
    """Write the scenes as one chunk. `folder` appears when it is complete."""
    scenes = list(scenes)
    facts = [
        {"seed": s.seed, "objects": [asdict(o) for o in s.objects], "parts": [asdict(p) for p in s.parts]}
        for s in scenes
    ]
    with whole_chunk(folder) as unfinished:
        np.save(unfinished / "rgb.npy", np.stack([s.rgb for s in scenes]))
        np.save(unfinished / "instance_ids.npy", np.stack([s.instance_ids for s in scenes]))
        np.save(unfinished / "part_ids.npy", np.stack([s.part_ids for s in scenes]))
        (unfinished / "scenes.json").write_text(json.dumps(facts, separators=(",", ":")))


@contextmanager
def whole_chunk(folder: Path) -> Iterator[Path]:
    """A temporary folder to write to. It is renamed to `folder` at the end, if nothing was raised."""
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    unfinished.mkdir(parents=True, exist_ok=True)
    yield unfinished
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.rename(folder)


def render_scenes(first_seed: int, count: int, folder: Path, size_wh: tuple[int, int] = SIZE_WH) -> None:
    """Render the scenes of seeds `first_seed` up to `first_seed + count`; chunks already there are kept."""
    from reasonseg_ros.tabletop.world import World

    world = World(size_wh=size_wh)
    started = time.monotonic()
    for first in range(first_seed, first_seed + count, SCENES_PER_CHUNK):
        chunk = folder / f"scenes_{first:010d}"
        if not chunk.exists():
            seeds = range(first, min(first + SCENES_PER_CHUNK, first_seed + count))
            write_chunk((world.scene(seed) for seed in seeds), chunk)
        done = min(first + SCENES_PER_CHUNK - first_seed, count)
        print(f"{done} of {count} scenes, {time.monotonic() - started:.0f} s", flush=True)


def tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with lists converted back to tuples, which JSON does not have."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


class SceneFiles:
    """The scenes of all chunks in a folder, in the order in which `refresh` found them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chunks: set[str] = set()
        self._scenes: list[StoredScene] = []
        self.refresh()
        if not self._scenes:
            raise InvalidInput(f"no rendered scenes in {folder}; make some with `reasonseg train scenes`")

    def refresh(self) -> None:
        """Add new chunks."""
        for chunk in sorted(self._folder.glob("scenes_*")):
            if chunk.name not in self._chunks:
                self._chunks.add(chunk.name)
                self._scenes += _read_chunk(chunk)

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, index: int) -> StoredScene:
        return self._scenes[index]


def _read_chunk(folder: Path) -> list[StoredScene]:
    rgb, instance_ids, part_ids = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("rgb", "instance_ids", "part_ids")
    )
    facts = json.loads((folder / "scenes.json").read_text())
    return [
        StoredScene(
            fact["seed"],
            rgb[i],
            instance_ids[i],
            part_ids[i],
            tuple(SceneObject(**tuples(o)) for o in fact["objects"]),
            tuple(ScenePart(**tuples(p)) for p in fact["parts"]),
        )
        for i, fact in enumerate(facts)
    ]

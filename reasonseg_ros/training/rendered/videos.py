"""Rendered tabletop videos on disk, for training.

A folder holds chunks named `videos_<first seed>`, each with

    rgb.npy           uint8 [N, F, H, W, 3]
    instance_ids.npy  uint8 [N, F, H, W], 0 is the background
    videos.json       N times {"seed": ..., "rate_hz": ..., "events": [Event fields], "frames": F times [SceneObject
                      fields]}

Only the frames for the model are rendered, because rendering costs far more than physics. As with scenes, a chunk gets
its name only when it is complete.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from reasonseg_ros.errors import InvalidInput, RenderError
from reasonseg_ros.tabletop.scene import SceneObject
from reasonseg_ros.tabletop.videos.video import Event, Video
from reasonseg_ros.training.rendered.scenes import SIZE_WH, StoredScene, tuples, whole_chunk

FRAMES = 6
"""Frames of a video that the embedded reasoner sees."""

VIDEOS_PER_CHUNK = 50
RATES_HZ = (1.7, 1.85, 2.0, 2.2)
"""Frame rates, used in turn. The frames are thus 0.45 to 0.6 s apart."""


@dataclass(frozen=True, eq=False)
class StoredVideo:
    """The parts of a `Video` that training needs, with the same names. The arrays are read-only views of the files."""

    seed: int
    rate_hz: float
    scenes: tuple[StoredScene, ...]
    events: tuple[Event, ...]


def write_videos(videos: Sequence[Video], folder: Path) -> None:
    """Write videos of equal length and size as one chunk. `folder` appears when it is complete."""
    facts = [
        {
            "seed": video.seed,
            "rate_hz": video.rate_hz,
            "events": [asdict(event) for event in video.events],
            "frames": [[asdict(item) for item in scene.objects] for scene in video.scenes],
        }
        for video in videos
    ]
    with whole_chunk(folder) as unfinished:
        np.save(unfinished / "rgb.npy", np.stack([[s.rgb for s in video.scenes] for video in videos]))
        np.save(unfinished / "instance_ids.npy", np.stack([[s.instance_ids for s in v.scenes] for v in videos]))
        (unfinished / "videos.json").write_text(json.dumps(facts, separators=(",", ":")))


def render_videos(
    first_seed: int,
    count: int,
    folder: Path,
    size_wh: tuple[int, int] = SIZE_WH,
    frames: int = FRAMES,
    rates_hz: Sequence[float] = RATES_HZ,
) -> None:
    """Render the videos of seeds `first_seed` up to `first_seed + count`; chunks already there are kept.

    Seeds without a valid arrangement are skipped.
    """
    from reasonseg_ros.tabletop.videos.film import film
    from reasonseg_ros.tabletop.world import World

    world = World(size_wh=size_wh)
    started = time.monotonic()
    for first in range(first_seed, first_seed + count, VIDEOS_PER_CHUNK):
        chunk = folder / f"videos_{first:010d}"
        seeds = range(first, min(first + VIDEOS_PER_CHUNK, first_seed + count))
        if not chunk.exists():
            videos = []
            for seed in seeds:
                try:
                    videos.append(film(world, seed, frames, rates_hz[seed % len(rates_hz)]))
                except RenderError as error:
                    print(error, flush=True)
            write_videos(videos, chunk)
        print(f"{seeds.stop - first_seed} of {count} videos, {time.monotonic() - started:.0f} s", flush=True)


class VideoFiles:
    """The videos of all chunks in a folder, in the order in which `refresh` found them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chunks: set[str] = set()
        self._videos: list[StoredVideo] = []
        self.refresh()
        if not self._videos:
            raise InvalidInput(f"no videos in {folder}; make some with `reasonseg train videos`")

    def refresh(self) -> None:
        """Add new chunks."""
        for chunk in sorted(self._folder.glob("videos_*")):
            if chunk.name not in self._chunks:
                self._chunks.add(chunk.name)
                self._videos += _read_chunk(chunk)

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, index: int) -> StoredVideo:
        return self._videos[index]


def _read_chunk(folder: Path) -> list[StoredVideo]:
    rgb, instance_ids = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("rgb", "instance_ids"))
    no_parts = np.zeros(instance_ids.shape[2:], np.uint8)
    videos = []
    for i, fact in enumerate(json.loads((folder / "videos.json").read_text())):
        scenes = tuple(
            StoredScene(
                fact["seed"],
                rgb[i, f],
                instance_ids[i, f],
                no_parts,
                tuple(SceneObject(**tuples(o)) for o in items),
                (),
            )
            for f, items in enumerate(fact["frames"])
        )
        videos.append(StoredVideo(fact["seed"], fact["rate_hz"], scenes, tuple(Event(**e) for e in fact["events"])))
    return videos

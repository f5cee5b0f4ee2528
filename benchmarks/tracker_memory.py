"""Resident memory of the tracker over many frames with targets that come and go.

    python benchmarks/tracker_memory.py --frames 10000

The graphs are stand-ins that give arrays of the embedded segmenter's sizes, so that what is measured is what the
tracker keeps, in seconds instead of hours. Were one mask a frame kept, 10,000 frames would take 2.6 GB a target.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from reasonseg_ros.config.models import TrackerConfig
from reasonseg_ros.engine.manifest import Memory
from reasonseg_ros.segmenter.port import Features
from reasonseg_ros.segmenter.tracker import MemoryTracker
from reasonseg_ros.types import Grounding

SIZE_PX, CHANNELS = 512, 128
MEMORY = Memory(slots=4, pointers=8, channels=64)
IMAGE_WH = (160, 120)
MOST_TARGETS = 6


class StandIn:
    """One graph that answers with noise of the right shapes, so that pages are really written."""

    largest: Mapping[str, int] = {}

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def run(self, inputs: Mapping[str, Any], keep: Collection[str] = ()) -> dict[str, Any]:
        side = SIZE_PX // 16
        count = len(inputs.get("point_labels", inputs.get("mem_slot", inputs.get("prompted"))))
        if "point_labels" in inputs:
            score = self.rng.normal(1, 1, (count, 1)).astype(np.float32)
            masks = np.tile(self.rng.normal(size=(count, 1, 4 * side, 1)).astype(np.float32), 4 * side)
            return {
                "masks": masks,
                "iou": score,
                "object_score": score,
                "object_pointer": np.ones((count, CHANNELS), "f4"),
            }
        if "mem_slot" in inputs:
            return {"image_embed": np.zeros((count, CHANNELS, side, side), np.float32)}
        return {"mem_feat": np.ones((count, side * side, MEMORY.channels), np.float32)}

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.zeros(shape, dtype)


def resident_mib() -> float:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    frames = parser.parse_args().frames
    rng = np.random.default_rng(0)
    graphs = {name: StandIn(rng) for name in ("decoder", "memory_attention", "memory_encoder")}
    tracker = MemoryTracker(graphs, MEMORY, SIZE_PX, TrackerConfig())
    side = SIZE_PX // 16
    names = ("image_embed", "high_res_0", "high_res_1", "vision_feat")
    features = Features({name: np.zeros((1, CHANNELS, side, side), np.float32) for name in names}, IMAGE_WH)
    prompt = Grounding(np.array([10, 10, 60, 60], np.float32))
    followed: list[int] = []
    added, begin_s = 0, time.monotonic()
    for frame in range(frames):
        tracker.step(features, frame)
        if rng.random() < 0.1 and len(followed) < MOST_TARGETS:
            followed.append(tracker.add(features, [prompt], frame)[0].track_id)
            added += 1
        elif followed and rng.random() < 0.1:
            tracker.remove([followed.pop(int(rng.integers(len(followed))))])
        if (frame + 1) % max(1, frames // 10) == 0:
            seconds = time.monotonic() - begin_s
            print(f"{frame + 1} frames, {added} targets added, {len(followed)} followed, "
                  f"{resident_mib():.1f} MiB, {seconds:.0f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

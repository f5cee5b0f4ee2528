"""How well a late answer fits: the mask as it was reasoned on, and carried forward, against the truth when it is told.

    python benchmarks/late_answers.py --videos 20 --out FILE.json [--set tracker.mode=reprompt]

Videos of the simulated tabletop, 6 s at 10 Hz; the question is about the object that something happens to, asked in
the frame before it begins. The reasoner is scripted: it says the true box and point of that frame after the delay. Its
thinking is simulated time; catching up takes the time that it takes here, while further frames come.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import yaml

from reasonseg_ros.config import Config, config_from
from reasonseg_ros.evaluation.stand_ins import from_mask
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.live.carrying import Carrier
from reasonseg_ros.live.frame_buffer import Arrival, FrameBuffer
from reasonseg_ros.methods.tracking import load_tracker
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.regions import build_region
from reasonseg_ros.tabletop.video import Video, film
from reasonseg_ros.tabletop.world import World
from reasonseg_ros.types import Answer, BoolMask, Frame, Query, Segmentation, Status
from reasonseg_ros.versions import versions

DELAYS_S = (0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
RATE_HZ = 10.0
FRAMES = 60
FIRST_SEED = 20_500_000
SIZE_WH = (640, 480)


class Stream(FrameBuffer):
    """A buffer in simulated time: what has been taken `now_s` after the first frame is in it."""

    def __init__(self, frames: list[Frame], asked: int, delay_s: float) -> None:
        super().__init__(1e6, 1 << 40)
        self._frames = frames
        self._asked_s, self._delay_s = asked / RATE_HZ, delay_s
        self.answered_s = time.perf_counter()

    @property
    def now_s(self) -> float:
        return self._asked_s + self._delay_s + time.perf_counter() - self.answered_s

    def after(self, stamp_ns: int) -> list[Arrival]:
        shown = self._frames[: int(self.now_s * RATE_HZ) + 1]
        return [Arrival(f.stamp_ns, 0, lambda f=f: f) for f in shown if f.stamp_ns > stamp_ns]


def truth(video: Video, index: int, instance_id: int) -> BoolMask:
    return video.scenes[index].mask((instance_id,))


def measure(video: Video, delay_s: float, carrier: Carrier, config: Config) -> dict[str, float] | None:
    """One late answer; None where the video is too short for it or the target is not seen at its end."""
    event = video.events[0]
    asked = max(event.first_frame - 1, 0)
    told = asked + round(delay_s * RATE_HZ)
    target = event.instance_id
    if told >= FRAMES or not truth(video, asked, target).any():
        return None
    frames = [Frame(scene.rgb, round(i * 1e9 / RATE_HZ)) for i, scene in enumerate(video.scenes)]
    groundings = from_mask(truth(video, asked, target))
    masks = carrier.segmenter.decode(carrier.segmenter.encode(frames[asked].rgb), groundings)
    regions = tuple(build_region(g, m, config.segmenter) for g, m in zip(groundings, masks, strict=True))
    answer = Answer(Status.OK, groundings=groundings)
    late = Segmentation(frames[asked], Query("what happened?"), answer, regions)
    stream = Stream(frames, asked, delay_s)
    carried = carrier.carry(late, stream)
    newest = min(int(stream.now_s * RATE_HZ), FRAMES - 1)
    now = truth(video, newest, target)
    if not now.any():
        return None
    found = carried.segmentation
    return {
        "naive_iou": mask_iou(late.mask, now),
        "carried_iou": mask_iou(found.mask, now),
        "moved": float(mask_iou(truth(video, asked, target), now) < 0.5),
        "lost": float(found.status is Status.LOST),
        "catch_up_s": found.seconds.get("catching_up", 0.0),
        "age_s": newest / RATE_HZ - found.frame.stamp_ns / 1e9,
        "frames": carried.frames,
        "left_out": carried.left_out,
    }


def table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    if not rows:
        return {"answers": 0}
    moved = [row for row in rows if row["moved"]]

    def means(of: list[dict[str, Any]], *names: str) -> dict[str, float | None]:
        return {name: round(mean(row[name] for row in of), 3) if of else None for name in names}

    return {
        "answers": len(rows),
        **means(rows, "naive_iou", "carried_iou", "lost"),
        "of_these_moved": {"answers": len(moved), **means(moved, "naive_iou", "carried_iou")},
        "catch_up_s_median": round(median(row["catch_up_s"] for row in rows), 3),
        "catch_up_s_max": round(max(row["catch_up_s"] for row in rows), 3),
        "age_when_told_s_median": round(median(row["age_s"] for row in rows), 3),
        **means(rows, "frames", "left_out"),
    }


def masks_a_second(video: Video, carrier: Carrier) -> float:
    """Frames a second of following one target, encoding included, after the first few."""
    target = video.events[0].instance_id
    first = next(i for i in range(FRAMES) if truth(video, i, target).any())
    tracker = carrier.make_tracker()
    tracker.add(carrier.segmenter.encode(video.scenes[first].rgb), from_mask(truth(video, first, target)), 0)
    times_s = []
    for index, scene in enumerate(video.scenes[first + 1 : first + 21]):
        start_s = time.perf_counter()
        tracker.step(carrier.segmenter.encode(scene.rgb), index + 1)
        times_s.append(time.perf_counter() - start_s)
    return 1 / float(np.median(times_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", dest="overrides")
    parser.add_argument("--out", type=Path)
    settings = parser.parse_args()
    values = dict(text.split("=", 1) for text in settings.overrides)
    config = config_from({name: yaml.safe_load(value) for name, value in values.items()})
    segmenter = KeptFeatures(load_segmenter(config.segmenter), config.segmenter.kept_frames)
    carrier = Carrier(segmenter, load_tracker(config, segmenter), config.stream.catch_up_s)
    rows: dict[float, list[dict[str, Any]]] = {delay_s: [] for delay_s in DELAYS_S}
    rates = []
    world = World(SIZE_WH)
    for number in range(settings.videos):
        video = film(world, FIRST_SEED + number, FRAMES, RATE_HZ)
        for delay_s in DELAYS_S:
            if (row := measure(video, delay_s, carrier, config)) is not None:
                rows[delay_s].append(row)
        rates.append(masks_a_second(video, carrier))
        print(f"video {number + 1} of {settings.videos}", flush=True)
    found = {
        "command": f"python benchmarks/late_answers.py --videos {settings.videos} {' '.join(settings.overrides)}",
        "versions": versions(),
        "settings": {"catch_up_s": config.stream.catch_up_s, **values},
        "by_delay_s": {str(delay_s): table(found) for delay_s, found in rows.items()},
        "masks_a_second_median": round(median(rates), 1),
    }
    text = json.dumps(found, indent=2)
    print(text)
    if settings.out:
        settings.out.parent.mkdir(parents=True, exist_ok=True)
        settings.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

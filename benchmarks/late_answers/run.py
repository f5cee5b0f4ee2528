"""How well a late answer fits when it arrives: the mask on the older image, and the propagated mask, against the truth.

    python -m benchmarks.late_answers [--videos 24] [--costs measured] [--set stream.catch_up_s=1.0] [--out FOLDER]

The videos are of the simulated tabletop at 10 Hz, with seeds that no model was trained on. The question is asked in the
last image before something happens: about the object that moves, and about one that stays. The reasoner is scripted.
After the delay it gives the true box and point in the image that it was asked about.

All time is simulated, so a busy machine does not change the result. Thinking takes the delay. Catching up costs a fixed
time for each encoded image and each step of the tracker, and images continue to arrive meanwhile. `--costs assumed`
uses the times of a quiet machine with 2 cores, `measured` first measures them here, and `none` shows what the trackers
could do in no time. A target that is lost during propagation is asked for again, as the node does, which takes the
delay a second time.

The propagated mask is reported beside the unchanged mask and the segmenter's mask of the same box in the newest image.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

import yaml

from benchmarks.late_answers.report import DELAYS_S, TRACKERS, LateAnswer, write
from benchmarks.late_answers.simulation import ASSUMED, RATE_HZ, Costs, Robot, Stream
from benchmarks.results import RESULTS, commit, library_versions, machine
from reasonseg_ros.config import Config, config_from
from reasonseg_ros.evaluation.scoring.stand_ins import from_mask
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.live.following.motion import moved_mask
from reasonseg_ros.live.following.propagation import Propagated
from reasonseg_ros.live.stream.scene_change import thumbnail
from reasonseg_ros.methods.tracking import load_tracker
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Segmenter, Tracker
from reasonseg_ros.segmenter.regions import build_region
from reasonseg_ros.tabletop.videos.film import film
from reasonseg_ros.tabletop.videos.video import Video
from reasonseg_ros.tabletop.world import World
from reasonseg_ros.types import Answer, BoolMask, Frame, Query, Segmentation, Status

FRAMES = 76
FIRST_SEED = 20_500_000
SIZE_WH = (640, 480)
MOVED_IOU = 0.5
"""A target has moved if its true masks at the question and at the answer have a lower IoU than this."""
LEAST_PX = 100
"""Minimum area of a target that counts as visible."""


class Questions:
    """Asks about one video, whose features are encoded once."""

    def __init__(self, video: Video, segmenter: Segmenter) -> None:
        self.video = video
        self.frames = [Frame(scene.rgb, round(i * 1e9 / RATE_HZ)) for i, scene in enumerate(video.scenes)]
        self._segmenter = segmenter

    def truth(self, index: int, target: int) -> BoolMask:
        return self.video.scenes[index].mask((target,))

    def is_seen(self, index: int, target: int) -> bool:
        return int(self.truth(index, target).sum()) >= LEAST_PX

    def ask(self, asked: int, target: int, delay_s: float, robot: Robot) -> LateAnswer | None:
        """None if the video ends before the answer, or if the target is not visible at that time."""
        clock, config = robot.clock, robot.config
        clock.now_s = asked / RATE_HZ
        stream = Stream(self.frames, config, clock, robot.costs.decode_s)
        times = 0
        while True:
            late = self.answer(stream.newest, target, config)
            robot.segmenter.encode(late.frame.rgb)  # beside the reasoner
            clock.now_s = late.frame.stamp_ns / 1e9 + delay_s
            carried = robot.propagator.propagate(late, stream, config.stream.catch_up_s)
            times += 1
            if carried.segmentation.status is not Status.LOST or times > config.query.ask_again:
                break
        newest = stream.newest
        if clock.now_s >= FRAMES / RATE_HZ or not self.is_seen(newest, target):
            return None
        return self._scored(asked, target, delay_s, config.tracker.mode, times, newest, late, carried)

    def answer(self, index: int, target: int, config: Config) -> Segmentation:
        """The answer with the true box and point in an image; `no_target` if the target is not visible."""
        frame, query = self.frames[index], Query("which one?")
        if not self.is_seen(index, target):
            return Segmentation(frame, query, Answer(Status.NO_TARGET), ())
        groundings = from_mask(self.truth(index, target))
        masks = self._segmenter.decode(self._segmenter.encode(frame.rgb), groundings)
        regions = tuple(build_region(g, m, config.segmenter) for g, m in zip(groundings, masks, strict=True))
        return Segmentation(frame, query, Answer(Status.OK, groundings=groundings), regions)

    def _scored(
        self, asked: int, target: int, delay_s: float, tracker: str, times: int, newest: int, late: Segmentation,
        carried: Propagated,
    ) -> LateAnswer:  # fmt: skip
        now, found = self.truth(newest, target), carried.segmentation
        features = self._segmenter.encode(self.frames[newest].rgb)
        again = self._segmenter.decode(features, late.answer.groundings) if late.regions else []
        events = [event.kind for event in self.video.events if event.instance_id == target]
        return LateAnswer(
            video=self.video.seed,
            event=events[0] if events else "none",
            delay_s=delay_s,
            tracker=tracker,
            moved=mask_iou(self.truth(asked, target), now) < MOVED_IOU,
            as_it_was=mask_iou(late.mask, now),
            same_box=mask_iou(again[0].mask, now) if again else 0.0,
            carried=mask_iou(found.mask, now),
            on_its_image=mask_iou(found.mask, self.truth(round(found.frame.stamp_ns / 1e9 * RATE_HZ), target)),
            status=str(found.status),
            asked=times,
            catch_up_s=found.seconds.get("catching_up", 0.0),
            age_s=newest / RATE_HZ - found.frame.stamp_ns / 1e9,
            stepped=carried.frames,
            left_out=carried.left_out,
        )


def questions(video: Video) -> Iterator[tuple[int, int]]:
    """Image and object in the last image before something happens: the object that moves, and one that stays."""
    acted = {event.instance_id for event in video.events}
    for event in video.events[:1]:
        asked = max(event.first_frame - 1, 0)
        yield asked, event.instance_id
        scene = video.scenes[asked]
        others = [item.instance_id for item in scene.objects if item.instance_id not in acted]
        yield from ((asked, other) for other in others[:1])


def measured_costs(video: Video, segmenter: Segmenter, make: Mapping[str, Callable[[], Tracker]]) -> Costs:
    """Costs measured on this machine: medians over 20 images with one tracked target."""
    asked, target = next(iter(questions(video)))
    encode_s: list[float] = []
    move_s: list[float] = []
    decode_s: list[float] = []
    step_s: dict[str, list[float]] = {name: [] for name in TRACKERS}
    trackers = {name: make[name]() for name in TRACKERS}
    groundings = from_mask(video.scenes[asked].mask((target,)))
    for before, after in itertools.pairwise(video.scenes[asked : asked + 21]):
        start_s = time.perf_counter()
        moved_mask(before.rgb, after.rgb, before.mask((target,)))
        move_s.append(time.perf_counter() - start_s)
        start_s = time.perf_counter()
        thumbnail(after.rgb.copy())
        decode_s.append(time.perf_counter() - start_s)
    for index, scene in enumerate(video.scenes[asked : asked + 21]):
        start_s = time.perf_counter()
        features = segmenter.encode(scene.rgb)
        encode_s.append(time.perf_counter() - start_s)
        for name, tracker in trackers.items():
            start_s = time.perf_counter()
            if index:
                tracker.step(features, index)
            else:
                tracker.add(features, groundings, index)
            step_s[name].append(time.perf_counter() - start_s)
    return Costs(*(round(median(times[1:]), 4) for times in (encode_s, *step_s.values(), move_s, decode_s)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.late_answers", description=__doc__.split("\n")[0])
    parser.add_argument("--videos", type=int, default=24, help="with a target that can be asked for (default: 24)")
    parser.add_argument("--costs", choices=("assumed", "measured", "none"), default="assumed")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", dest="overrides")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")
    chosen = parser.parse_args()
    values = dict(text.split("=", 1) for text in chosen.overrides)
    config = config_from({"segmenter.threads": 1, **{name: yaml.safe_load(value) for name, value in values.items()}})
    configs = [replace(config, tracker=replace(config.tracker, mode=mode)) for mode in TRACKERS]
    segmenter = KeptFeatures(load_segmenter(config.segmenter), FRAMES)
    make = {one.tracker.mode: load_tracker(one, segmenter) for one in configs}
    costs = Costs(0.0, 0.0, 0.0, 0.0, 0.0) if chosen.costs == "none" else ASSUMED
    robots = [Robot(one, segmenter, make[one.tracker.mode], costs) for one in configs]
    rows: list[LateAnswer] = []
    about = {
        "command": shlex.join(["python", "-m", "benchmarks.late_answers", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "versions": library_versions(),
        "settings": {
            "stream.catch_up_s": config.stream.catch_up_s,
            "query.ask_again": config.query.ask_again,
            **values,
        },
        "costs": chosen.costs,
    }
    count, world = 0, World(SIZE_WH)
    for seed in itertools.count(FIRST_SEED):
        asked = Questions(film(world, seed, FRAMES, RATE_HZ), segmenter)
        pairs = [pair for pair in questions(asked.video) if asked.is_seen(*pair)]
        if len(pairs) < 2:  # an object that is put down is not visible before
            continue
        if not count and chosen.costs == "measured":
            costs = measured_costs(asked.video, load_segmenter(config.segmenter), make)
            robots = [Robot(one, segmenter, make[one.tracker.mode], costs) for one in configs]
        for index, target in pairs:
            answers = [asked.ask(index, target, delay_s, robot) for delay_s in DELAYS_S for robot in robots]
            rows += [one for one in answers if one is not None]
        count += 1
        print(f"video {count} of {chosen.videos}", file=sys.stderr, flush=True)
        write(chosen.out, about, costs, count, rows)  # an interrupted run keeps its results
        if count == chosen.videos:
            break

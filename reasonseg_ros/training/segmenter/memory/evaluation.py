"""Tracking scores on unseen videos by tracker mode, from a true prompt in the first frame."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from reasonseg_ros.config import config_from
from reasonseg_ros.evaluation.scoring.video_metrics import FrameScore, score_frame, summarise_videos
from reasonseg_ros.geometry import innermost_xy
from reasonseg_ros.methods.tracking import load_tracker
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.tabletop.contact_sheet import outlined
from reasonseg_ros.tabletop.questions.clear_objects import MIN_AREA_SHARE, MIN_VISIBLE_SHARE
from reasonseg_ros.tabletop.scene import SceneObject
from reasonseg_ros.training.rendered.scenes import StoredScene
from reasonseg_ros.training.rendered.videos import StoredVideo, VideoFiles
from reasonseg_ros.types import BoolMask, Grounding

MODES = ("memory", "reprompt")
PICTURE_VIDEOS, PICTURE_FRAMES = 6, 6
CLEAR_SHARE = 0.25
"""Minimum share of the first frame's area from which a target counts as clearly visible. Only at 0 is it hidden."""


@dataclass(frozen=True)
class Followed:
    """One target of a video in one tracker mode, in all frames after the first.

    Attributes:
        events: kinds of the events of the target.
        in_sight: its true area as a share of that in the first frame; 0 while hidden.
        found: whether a mask was predicted.
    """

    mode: str
    seed: int
    instance_id: int
    events: tuple[str, ...]
    scores: tuple[FrameScore, ...]
    in_sight: tuple[float, ...]
    found: tuple[bool, ...]


def evaluate_memory(
    model: str,
    videos: Path,
    modes: Sequence[str] = MODES,
    limit: int = 0,
    most_targets: int = 0,
    returning: bool = False,
    pictures: Path | None = None,
) -> list[Followed]:
    """Track the clear objects of the stored videos' first frames, and print J, F and J&F by mode and event.

    Also prints how often hidden targets are recognised as hidden. The prompted first frame does not count. `limit` is
    the maximum number of videos, and `most_targets` that of objects per video, those with events first; 0 means all.
    `returning` takes only objects that become hidden, and then plays each video backwards, so that they return. With
    `pictures`, strips of frames are written to that folder.
    """
    configs = {mode: config_from({"segmenter.model": model, "tracker.mode": mode})
               for mode in modes}  # fmt: skip
    segmenter = load_segmenter(configs[modes[0]].segmenter)
    makers = {mode: load_tracker(config, segmenter) for mode, config in configs.items()}
    files = VideoFiles(videos)
    count = min(limit, len(files)) if limit else len(files)
    followed: list[Followed] = []
    seconds: dict[str, float] = defaultdict(float)
    steps = 0
    for number in range(count):
        video = files[number]
        happening = {event.instance_id for event in video.events}
        targets = sorted(clear_objects(video.scenes[0]), key=lambda item: item.instance_id not in happening)
        if returning:
            hidden = {event.instance_id for event in video.events if event.kind == "hidden"}
            targets = [item for item in targets if item.instance_id in hidden]
            video = replace(video, scenes=(*video.scenes, *video.scenes[-2::-1]))
        targets = targets[: most_targets or len(targets)]
        if not targets:
            continue
        trackers = {mode: make() for mode, make in makers.items()}
        masks: dict[str, list[list[BoolMask]]] = {mode: [] for mode in modes}
        for index, scene in enumerate(video.scenes):
            begin_s = time.process_time()
            features = segmenter.encode(np.ascontiguousarray(scene.rgb))
            seconds["encoding"] += time.process_time() - begin_s
            for mode, tracker in trackers.items():
                begin_s = time.process_time()
                if index == 0:
                    tracks = tracker.add(features, [_prompt(scene, item) for item in targets], 0)
                else:
                    tracks = tracker.step(features, round(index / video.rate_hz * 1e9))
                    seconds[mode] += time.process_time() - begin_s
                masks[mode].append([track.mask for track in tracks])
        steps += (len(video.scenes) - 1) * len(targets)
        for mode, found in masks.items():
            followed += [_scored(mode, video, item, [frame[i] for frame in found]) for i, item in enumerate(targets)]
            if pictures is not None and number < PICTURE_VIDEOS:
                _draw(pictures / f"video_{video.seed}_{mode}.png", video, found)
        if (number + 1) % 10 == 0:
            print(f"{number + 1} of {count} videos", flush=True)
            _report(followed, modes, brief=True)
    _report(followed, modes)
    for mode in modes:
        print(f"{mode}: {1e3 * seconds[mode] / max(1, steps):.1f} ms of CPU time per target and frame")
    return followed


def clear_objects(scene: StoredScene) -> list[SceneObject]:
    """The objects that questions may be about."""
    least_px = MIN_AREA_SHARE * scene.instance_ids.size
    return [item for item in scene.objects if item.area_px >= least_px and item.visible_share >= MIN_VISIBLE_SHARE]


def _prompt(scene: StoredScene, item: SceneObject) -> Grounding:
    point = innermost_xy(scene.instance_ids == item.instance_id)
    return Grounding(np.array(item.box_xyxy, np.float32), point[None])


def _scored(mode: str, video: StoredVideo, item: SceneObject, masks: Sequence[BoolMask]) -> Followed:
    true = [scene.instance_ids == item.instance_id for scene in video.scenes]
    scores = tuple(score_frame(mask, target) for mask, target in zip(masks[1:], true[1:], strict=True))
    kinds = tuple(event.kind for event in video.events if event.instance_id == item.instance_id)
    areas_px = [int(np.count_nonzero(mask)) for mask in true]
    in_sight = tuple(area / areas_px[0] for area in areas_px[1:])
    found = tuple(bool(mask.any()) for mask in masks[1:])
    return Followed(mode, video.seed, item.instance_id, kinds, scores, in_sight, found)


def visibility_counts(followed: Sequence[Followed]) -> dict[str, tuple[int, int]]:
    """Numbers of frames with the right visibility, and of all frames, for hidden and for clearly visible targets."""
    frames = [frame for item in followed for frame in zip(item.in_sight, item.found, strict=True)]
    hidden = [not found for share, found in frames if share == 0]
    clear = [found for share, found in frames if share >= CLEAR_SHARE]
    return {"hidden": (sum(hidden), len(hidden)), "in sight": (sum(clear), len(clear))}


def _report(followed: Sequence[Followed], modes: Sequence[str], brief: bool = False) -> None:
    for mode in modes:
        groups: dict[str, dict[str, Sequence[FrameScore]]] = defaultdict(dict)
        for item in followed:
            if item.mode == mode:
                for group in ("all", *(item.events or ("at rest",)), *(("moved or hidden",) if item.events else ())):
                    groups[group][f"{item.seed}/{item.instance_id}"] = item.scores
        for group, expressions in groups.items():
            if brief and group != "all":
                continue
            means = summarise_videos(expressions)
            print(f"{mode:9s} {group:16s} J {means['j']:.3f} F {means['f']:.3f} J&F {means['j_and_f']:.3f} "
                  f"({len(expressions)} targets)", flush=True)  # fmt: skip
        for name, (right, count) in visibility_counts([item for item in followed if item.mode == mode]).items():
            print(f"{mode:9s} {name:11s} recognised in {right} of {count} frames, {right / max(1, count):.3f}")


def _draw(path: Path, video: StoredVideo, masks: Sequence[Sequence[BoolMask]]) -> None:
    shown = np.linspace(0, len(video.scenes) - 1, min(PICTURE_FRAMES, len(video.scenes))).round().astype(int)
    frames = [outlined(np.ascontiguousarray(video.scenes[i].rgb), list(masks[i])) for i in shown]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.hstack(frames), cv2.COLOR_RGB2BGR))

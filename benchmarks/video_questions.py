"""Questions about what happened: two rounds over a video against the same question about its last frame alone.

    reasonseg tabletop bag --video 12 --rate 4 --seed 20000000 --scenes 210 --size 320x240 --no-depth --out out/videos
    python -m benchmarks.video_questions out/videos [--limit 200] [--set tracker.mode=reprompt]

"Keyframe usable": in the frame that round 1 chose, the target's true mask has at least 0.4 of its largest area in any
frame. "Right object": the frame in question is usable, and the boxes on it mean the target (as in `right_target` of an
evaluation). J and F include every frame. A frame without a mask counts as 1 if the target is not visible in it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from reasonseg_ros.config import config_from
from reasonseg_ros.evaluation.bag_messages import read_bags
from reasonseg_ros.evaluation.reading.clips import Clip
from reasonseg_ros.evaluation.reading.videos import with_videos
from reasonseg_ros.evaluation.scoring.right_target import right_target
from reasonseg_ros.evaluation.scoring.video_metrics import FrameScore, score_frame, summarise_videos
from reasonseg_ros.methods.confident import Confident
from reasonseg_ros.methods.loading import load_method
from reasonseg_ros.methods.rev_seg import LookBack, RevSeg
from reasonseg_ros.reasoner.rounds import Keyframe
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.types import Frame, Query, Segmentation, Status

LEAST_USABLE_SHARE = 0.4
KEPT_FRAMES = 32
"""Both rows use the same frames."""
ROWS = ("two rounds", "last frame alone")


@dataclass(frozen=True, eq=False)
class Row:
    kind: str
    fell_back: bool
    is_usable: bool
    is_right: bool
    frames: tuple[FrameScore, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description="Two rounds over a video against its last frame alone.")
    parser.add_argument("bag", type=Path)
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N questions")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", dest="overrides")
    arguments = parser.parse_args()
    values = {name: yaml.safe_load(value) for name, _, value in (text.partition("=") for text in arguments.overrides)}
    method = load_method(config_from({"method": "rev_seg", "reasoner.time_limit_s": 3600.0, **values}))
    if isinstance(method, Confident):
        method = method.inner
    assert isinstance(method, RevSeg)
    method.segmenter = KeptFeatures(method.segmenter, KEPT_FRAMES)
    found: dict[str, list[Row]] = defaultdict(list)
    for number, clip in enumerate(videos(arguments.bag), 1):
        frames = [sample.load_frame() for sample in clip.samples]
        query = Query(clip.question)
        found[ROWS[0]].append(judged(clip, method, frames, method.look_back(frames, query)))
        found[ROWS[1]].append(judged(clip, method, frames, last_alone(method, frames, query)))
        if number % 50 == 0 and number != arguments.limit:
            print(f"after {number}", flush=True)
            show(found)
        if number == arguments.limit:
            break
    show(found)


def videos(bag: Path) -> Iterator[Clip]:
    return (clip for clip in with_videos(read_bags([bag], with_images=True)) if clip.is_video)


def last_alone(method: RevSeg, frames: Sequence[Frame], query: Query) -> LookBack:
    return LookBack(method.answer(frames[-1], query), len(frames) - 1, Keyframe(Status.OK, len(frames) - 1))


def judged(clip: Clip, method: RevSeg, frames: Sequence[Frame], looked: LookBack) -> Row:
    truths = [one.truth for one in clip.samples if one.truth]
    areas_px = [np.count_nonzero(truth.mask) for truth in truths]
    is_usable = bool(areas_px[looked.index] >= LEAST_USABLE_SHARE * max(areas_px))
    boxes_xyxy = [region.grounding.box_xyxy for region in looked.segmentation.regions]
    truth = truths[looked.index]
    is_right = is_usable and right_target(boxes_xyxy, truth.boxes_xyxy, truth.mask)
    scores = tuple(score(one, truth.mask) for one, truth in zip(method.follow(looked, frames), truths, strict=True))
    chose = looked.keyframe.status is Status.OK
    return Row(clip.samples[0].kind, looked.fell_back, is_usable and chose, is_right, scores)


def score(segmentation: Segmentation, target: np.ndarray) -> FrameScore:
    return score_frame(segmentation.mask if segmentation.status.is_answer else None, target)


def show(found: dict[str, list[Row]]) -> None:
    print("| | questions | keyframe usable | right object | J | F | J&F |\n|---|---|---|---|---|---|---|")
    for name, rows in found.items():
        print(line(f"**{name}**", rows, name == ROWS[0]))
        for kind in sorted({row.kind for row in rows}):
            print(line(f"{name}: {kind}", [row for row in rows if row.kind == kind], name == ROWS[0]))
    print(f"fell back to the newest frame: {sum(row.fell_back for row in found[ROWS[0]])}", flush=True)


def line(name: str, rows: Sequence[Row], has_keyframe: bool) -> str:
    scores = summarise_videos({str(k): row.frames for k, row in enumerate(rows)})
    usable = f"{np.mean([row.is_usable for row in rows]):.3f}" if has_keyframe else ""
    right = f"{np.mean([row.is_right for row in rows]):.3f}"
    return f"| {name} | {len(rows)} | {usable} | {right} | " + " | ".join(
        f"{scores[key]:.3f}" for key in ("j", "f", "j_and_f")
    ) + " |"  # fmt: skip


if __name__ == "__main__":
    main()

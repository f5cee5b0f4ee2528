"""Draws what each method does with one question, for docs/methods.md.

    python -m benchmarks.method_pictures --out docs/images [--methods llm_seg ...]

Questions about still images are from the shipped bag. The question about what happened is from the shipped video bag.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.samples import shipped_questions
from reasonseg_ros.config import config_from
from reasonseg_ros.evaluation.bag_messages import read_bags
from reasonseg_ros.evaluation.reading.videos import with_videos
from reasonseg_ros.files.resources import resource
from reasonseg_ros.images.files import write_image
from reasonseg_ros.images.overlays.drawing import draw
from reasonseg_ros.images.overlays.lettering import text_width_px, write_text
from reasonseg_ros.methods.llm_seg import LlmSeg
from reasonseg_ros.methods.loading import load_method, method_class
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.proposing import proposal_regions
from reasonseg_ros.methods.rea2_seg import Rea2Seg
from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.wrapped import WrappedMethod
from reasonseg_ros.types import Frame, Query, Region, RgbImage

PANEL_WIDTH_PX, BAR_PX, LETTER_PX = 400, 30, 18
STILL = 2
"""The shipped question about a still image that is drawn."""
SHOWN_CANDIDATES, SHOWN_FRAMES = 3, 4
INK, PAPER = (30, 30, 30), 255


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws what each method does with one question.")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder for the pictures")
    parser.add_argument("--methods", nargs="+", choices=tuple(DRAWN), default=list(DRAWN))
    arguments = parser.parse_args()
    for name in arguments.methods:
        method = load_method(config_from({"method": name, "answer.min_confidence": 0.0}))
        panels = DRAWN[name](bare(method, name))
        write_image(arguments.out / f"{name}.png", np.concatenate(panels, 1))
        print(arguments.out / f"{name}.png")


def bare(method: Method, name: str) -> Method:
    """The method inside the wrapper that adds a confidence."""
    while isinstance(method, WrappedMethod) and not isinstance(method, method_class(name)):
        method = method.inner
    return method


def still() -> tuple[Frame, Query]:
    chosen = shipped_questions()[STILL]
    return chosen.load_frame(), Query(chosen.question)


def seg_zero(method: Method) -> list[RgbImage]:
    frame, query = still()
    found = method.answer(frame, query)
    prompts = [replace(region, mask=np.zeros_like(region.mask)) for region in found.regions]
    prompted = draw(frame.rgb, prompts)
    for region in found.regions:
        corners = region.grounding.box_xyxy.astype(int).tolist()
        cv2.rectangle(prompted, corners[:2], corners[2:], (255, 200, 0), 3)
        for x, y in region.grounding.points_xy.astype(int).tolist():
            cv2.circle(prompted, (x, y), 6, (255, 60, 60), -1)
    return [
        panel(frame.rgb, [], query.text),
        panel(prompted, [], "box and points of the reasoner"),
        panel(frame.rgb, found.regions, "mask of the segmenter"),
    ]


def rev_seg(method: Method) -> list[RgbImage]:
    assert isinstance(method, RevSeg)
    clip = next(clip for clip in with_videos(read_bags([resource("demo/tabletop_video")])) if clip.is_video)
    frames = [sample.load_frame() for sample in clip.samples]
    looked = method.look_back(frames, Query(clip.question))
    tracked = method.follow(looked, frames)
    shown = sorted({looked.index, *np.linspace(0, len(frames) - 1, SHOWN_FRAMES).round().astype(int).tolist()})
    keyframe = {looked.index: f"chosen: {clip.question}"}
    return [
        panel(frames[i].rgb, tracked[i].regions, keyframe.get(i, f"tracked to image {i + 1} of {len(frames)}"))
        for i in shown[: SHOWN_FRAMES + 1]
    ]


def llm_seg(method: Method) -> list[RgbImage]:
    assert isinstance(method, LlmSeg)
    frame, query = still()
    found = method.answer(frame, query)
    features = method.segmenter.encode(frame.rgb)
    proposals = method.everything.propose(features)
    every = np.arange(len(proposals))
    proposed = list(
        proposal_regions(method.everything, features, proposals, every, method.settings.now.segmenter).values()
    )
    scores = ", ".join(f"{region.grounding.score:.2f}" for region in found.regions)
    return [
        panel(frame.rgb, [], query.text),
        panel(frame.rgb, proposed, f"{len(proposed)} proposals"),
        panel(frame.rgb, found.regions, f"chosen: predicted IoP {scores}"),
    ]


def rea2_seg(method: Method) -> list[RgbImage]:
    assert isinstance(method, Rea2Seg)
    frame, query = still()
    compared = method.compare(frame, query)
    candidates = list(zip(compared.candidates, compared.scores, strict=True))[:SHOWN_CANDIDATES]
    return [
        panel(frame.rgb, [], query.text),
        *(
            panel(
                frame.rgb,
                candidate.regions,
                f"{candidate.source}: votes {'none' if score is None else f'{score:g}'}"
                + (", chosen" if index == compared.best else ""),
            )
            for index, (candidate, score) in enumerate(candidates)
        ),
    ]


def panel(rgb: RgbImage, regions: Sequence[Region], text: str) -> RgbImage:
    """The image with its regions, below a line of text; PANEL_WIDTH_PX wide."""
    height = round(rgb.shape[0] * PANEL_WIDTH_PX / rgb.shape[1])
    picture = cv2.resize(draw(rgb, regions, 0.35), (PANEL_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    bar = np.full((BAR_PX, PANEL_WIDTH_PX, 3), PAPER, np.uint8)
    letter_px = LETTER_PX
    while letter_px > 8 and text_width_px(text, letter_px) > PANEL_WIDTH_PX - 12:
        letter_px -= 1
    write_text(bar, text, (6, BAR_PX - 9), INK, letter_px)
    framed = np.concatenate([bar, picture])
    framed[:, -2:] = PAPER
    return framed


DRAWN: dict[str, Callable[[Method], list[RgbImage]]] = {
    "seg_zero": seg_zero,
    "rev_seg": rev_seg,
    "llm_seg": llm_seg,
    "rea2_seg": rea2_seg,
}

if __name__ == "__main__":
    main()

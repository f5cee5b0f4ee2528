"""Two ways to score which of several candidates answers a question best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from reasonseg_ros.geometry import mask_box
from reasonseg_ros.images.overlays.drawing import draw
from reasonseg_ros.images.overlays.numbers import numbered
from reasonseg_ros.methods.candidates import DIRECT, Candidate
from reasonseg_ros.reasoner.abilities import Ability
from reasonseg_ros.reasoner.call import Call, ignore
from reasonseg_ros.reasoner.dialects.scores import parse_score, parse_scores
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.types import Frame, Query, RgbImage, Status

ALONE = """The question is: "{question}"
In the first picture one candidate answer is outlined. The second picture is a close-up of it. How well does what is
outlined answer the question? Think about what the question asks for, then look at it: is it the right thing,
all of it, and nothing else? Give a score from 0 (wrong) to 10 (exactly right).
Think in <think> </think>, then answer with <answer>{{"score": SCORE}}</answer>."""
NOTHING = """The question is: "{question}"
The candidate answer is that nothing in the picture fits. How right is that? Look for anything that the question could
mean. Give a score from 0 (something fits) to 10 (surely nothing fits).
Think in <think> </think>, then answer with <answer>{{"score": SCORE}}</answer>."""
TOGETHER = """The question is: "{question}"
In the picture {count} candidate answers are outlined and numbered from 1 to {count}. Compare them: which one answers
the question best, and why not the others? Give every candidate a score from 0 (wrong) to 10 (exactly right).
Think in <think> </think>, then answer with the scores by number, for example <answer>{{"1": 2, "2": 9}}</answer>."""
CROP_MARGIN = 0.3
"""Margin on each side of the close-up, as a share of the longer side of the candidate's box."""
SMALLEST_CROP_PX = 112


class Comparison(Protocol):
    """Scores candidates. The best score wins; the direct answer wins ties, and wins if there is no score.

    Attributes:
        needs: what the reasoner must be able to do.
        needs_samples: it compares sampled answers.
    """

    needs: frozenset[Ability]
    needs_samples: bool

    def scores(
        self, frame: Frame, query: Query, candidates: Sequence[Candidate], reasoner: Reasoner, call: Call
    ) -> list[float | None]:
        """A score for each candidate, None if it has none."""
        ...


class Votes:
    """The number of sampled answers that agree with the candidate; None for 0.

    The direct answer has half a vote more, and at least half of all votes. So only an absolute majority replaces it.
    """

    needs: frozenset[Ability] = frozenset()
    needs_samples = True

    def scores(
        self, frame: Frame, query: Query, candidates: Sequence[Candidate], reasoner: Reasoner, call: Call
    ) -> list[float | None]:
        half = sum(candidate.votes for candidate in candidates) / 2
        return [
            max(candidate.votes + 0.5, half) if candidate.source == DIRECT else candidate.votes or None
            for candidate in candidates
        ]


class ModelScores:
    """The model looks at each candidate alone, overlay and close-up, and at all side by side, and scores them 0 to 10.

    A candidate's score is the mean of its scores. A single candidate is not scored.
    """

    needs: frozenset[Ability] = frozenset((Ability.REPLIES,))
    needs_samples = False

    def scores(
        self, frame: Frame, query: Query, candidates: Sequence[Candidate], reasoner: Reasoner, call: Call
    ) -> list[float | None]:
        if len(candidates) < 2:
            return [None] * len(candidates)
        alone = [_alone(frame, query, candidate, reasoner, call) for candidate in candidates]
        shown = [index for index, candidate in enumerate(candidates) if candidate.regions]
        together: list[float | None] = [None] * len(candidates)
        if len(shown) > 1:
            words = TOGETHER.format(question=query.text, count=len(shown))
            text = _said(reasoner, [marked(frame.rgb, [candidates[index] for index in shown])], words, call)
            for index, score in zip(shown, parse_scores(text, len(shown)), strict=True):
                together[index] = score
        return [_mean(pair) for pair in zip(alone, together, strict=True)]


WAYS: dict[str, type[Comparison]] = {"votes": Votes, "asked": ModelScores}


def _alone(frame: Frame, query: Query, candidate: Candidate, reasoner: Reasoner, call: Call) -> float | None:
    if not candidate.regions:
        return parse_score(_said(reasoner, [frame.rgb], NOTHING.format(question=query.text), call))
    overlay = draw(frame.rgb, candidate.regions)
    words = ALONE.format(question=query.text)
    return parse_score(_said(reasoner, [overlay, close_up(frame.rgb, candidate)], words, call))


def _said(reasoner: Reasoner, images: Sequence[RgbImage], words: str, call: Call) -> str:
    """The reasoner's reply; empty if it fails or the call is cancelled."""
    if call.cancelled():
        return ""
    reply = reasoner.reply(
        images, words, Call(time_limit_s=call.time_limit_s, cancelled=call.cancelled, on_text=ignore)
    )
    return reply.text if reply.status is Status.OK else ""


def _mean(scores: tuple[float | None, float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if known else None


def close_up(rgb: RgbImage, candidate: Candidate) -> RgbImage:
    """The part of the picture around a candidate's mask, uint8 [h, w, 3], at least SMALLEST_CROP_PX wide and high.

    It is clipped to the picture; small ones are enlarged.
    """
    box = mask_box(candidate.mask)
    if box is None:
        return rgb
    x1, y1, x2, y2 = box.astype(int)
    margin = max(round(CROP_MARGIN * max(x2 - x1, y2 - y1)), 4)
    crop = rgb[max(y1 - margin, 0) : y2 + margin, max(x1 - margin, 0) : x2 + margin]
    scale = SMALLEST_CROP_PX / min(crop.shape[:2])
    if scale <= 1:
        part: RgbImage = np.ascontiguousarray(crop)
        return part
    enlarged: RgbImage = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return enlarged


def marked(rgb: RgbImage, candidates: Sequence[Candidate]) -> RgbImage:
    """The picture with every candidate's outline and its number, from 1 on, at its innermost point."""
    picture: RgbImage = rgb
    for candidate in candidates:
        picture = draw(picture, candidate.regions, 0.0)
    return numbered(picture, [candidate.mask for candidate in candidates])

"""LLM-Seg: the segmenter proposes masks of everything, and a small module chooses those that match the thought.

The reasoner writes no coordinates: the hidden state at the end of its thought is the query to the masks, and its
attention to the image while it thought is part of each mask's vector.

Source: Wang and Ke, "LLM-Seg: Bridging Image Segmentation and Large Language Model Reasoning", 2024, arXiv:2404.08767.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.errors import ConfigError, InvalidInput, ModelError
from reasonseg_ros.files.resources import resource
from reasonseg_ros.geometry import mask_box
from reasonseg_ros.images.memory import ImageMemory
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.proposing import Unwanted, proposal_regions, proposals_for
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.methods.stages import failed
from reasonseg_ros.methods.tracking import load_tracker
from reasonseg_ros.methods.wrapped import WrappedMethod
from reasonseg_ros.reasoner.abilities import Ability
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.dialects.parsing import take_apart
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.reasoner.thoughts import Thought
from reasonseg_ros.segmenter.everything import Everything, Proposals
from reasonseg_ros.segmenter.port import Features, ScoredMask, Segmenter
from reasonseg_ros.segmenter.regions import build_region, without_empty
from reasonseg_ros.selection.digests import model_digests
from reasonseg_ros.selection.embeddings import attended, attention_maps, embed_masks
from reasonseg_ros.selection.selector import MaskScores, Selector
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Answer, BoolMask, Frame, Grounding, Query, Region, Segmentation, Status

EMBEDDED = "tabletop"
JOIN_SHARE = 0.1
"""Masks of different things rarely overlap; chosen on the validation scenes of the selection."""


@dataclass(frozen=True, eq=False)
class Proposed:
    """An encoded image with the proposals in it."""

    features: Features
    proposals: Proposals


class LlmSeg(WrappedMethod):
    """Answers questions about single frames. Prompts are segmented as `inner` does.

    The segmenter encodes and proposes in a second thread while the reasoner thinks. The proposals of the last images
    are cached, so another question about one of them needs only the thought and the choice.
    """

    name = "llm_seg"

    def __init__(self, inner: Method, selector: Selector) -> None:
        super().__init__(inner)
        self.selector = selector
        self.everything = Everything(self.segmenter, grid_wh=selector.card.grid_wh)
        self._beside = ThreadPoolExecutor(1, "reasonseg proposals")
        self._kept: ImageMemory[Proposed] = ImageMemory(self.settings.now.segmenter.kept_frames)

    @classmethod
    def build(cls, reasoner: Reasoner, segmenter: Segmenter, settings: Settings) -> Method:
        config = settings.now
        selector = Selector(selection_folder(config.selection.model))
        if reasoner.state_width != selector.card.state_width:
            raise ConfigError(
                f"method = 'llm_seg'; it needs hidden states of width {selector.card.state_width}, and "
                f"{reasoner.name} gives {reasoner.state_width or 'none'}: set reasoner.backend to onnxruntime, or "
                "choose another method"
            )
        if Ability.ATTENTION not in reasoner.abilities:
            raise ConfigError(
                f"method = 'llm_seg'; it needs the attention of the thought to the image, and {reasoner.name} gives "
                "none: export it again with `reasonseg export reasoner`, or choose another method"
            )
        selector.card.check_models(**model_digests(config.reasoner.model, config.segmenter.model))
        method = cls(SegZero.build(reasoner, segmenter, settings), selector)
        method.make_tracker = load_tracker(settings, segmenter)
        return method

    def answer(self, frame: Frame, query: Query, call: Call = WAIT) -> Segmentation:
        call.on_stage("reasoning")
        begun_s = time.perf_counter()
        proposing = self._beside.submit(self._propose, frame, call)
        try:
            thought = self.reasoner.think(frame, query.text, call)
        # The port promises an Answer; a reasoner that raises fails only its question.
        except Exception as error:
            thought = failed(Answer(Status.NO_TARGET, model=self.reasoner.name), "reasoning", error)
        seconds = {"reasoning": time.perf_counter() - begun_s}
        if isinstance(thought, Answer):
            proposing.cancel()  # if it is still queued; otherwise it ends soon
            return Segmentation(frame, query, thought, (), seconds)
        call.on_stage("segmenting")
        return self._chosen(frame, query, thought, proposing, seconds)

    def answer_batch(self, frames: Sequence[Frame], queries: Sequence[Query]) -> list[Segmentation]:
        return [self.answer(frame, query) for frame, query in zip(frames, queries, strict=True)]

    def _propose(self, frame: Frame, call: Call) -> Proposed:
        known = self._kept.get(frame.rgb)
        if known is None:
            features = self.segmenter.encode(frame.rgb)
            known = Proposed(features, proposals_for(self.everything, features, call))
            self._kept.put(frame.rgb, known)
        return known

    def _chosen(
        self, frame: Frame, query: Query, thought: Thought, proposing: Future[Proposed], seconds: dict[str, float]
    ) -> Segmentation:
        """The answer with the masks that are chosen for a thought."""
        begun_s = time.perf_counter()
        words = take_apart(thought.text).thought
        answer = Answer(Status.NO_TARGET, words, raw_text=thought.text, model=self.reasoner.name, tokens=thought.tokens)
        regions: tuple[Region, ...] = ()
        try:
            config = self.settings.now.segmenter
            found = proposing.result()
            scores = self.scores(frame, thought, found)
            drawn = proposal_regions(self.everything, found.features, found.proposals, scores.chosen, config)
            regions = _left_to_right(join_overlapping(_with_scores(drawn, scores), config))
            if regions:
                groundings = tuple(region.grounding for region in regions)
                answer = replace(answer, status=Status.OK, groundings=groundings)
        except Unwanted:
            answer = replace(answer, status=Status.CANCELLED, error="cancelled before segmenting")
        # An error of a model is the status of one question.
        except Exception as error:
            answer, regions = failed(answer, "segmenting", error), ()
        seconds = {**seconds, "segmenting": time.perf_counter() - begun_s}
        return without_empty(Segmentation(frame, query, answer, regions, seconds))

    def scores(self, frame: Frame, thought: Thought, found: Proposed) -> MaskScores:
        """Scores of all proposals for a thought. Raises ModelError."""
        masks = np.zeros((0, self.selector.card.mask_features), np.float32)
        if len(found.proposals):
            feature_map = self.segmenter.feature_map(found.features)
            looks = attended(found.proposals.low_res, attention_maps(thought.attention))
            vectors = embed_masks(found.proposals, feature_map, thought.image_features, frame.rgb)
            masks = np.concatenate([vectors, looks], 1)
        return self.selector.select(masks, thought.states[-1:])


def _with_scores(drawn: Mapping[int, Region], scores: MaskScores) -> list[Region]:
    """The regions whose groundings have the predicted IoP as score."""
    return [
        replace(region, grounding=replace(region.grounding, score=float(scores.iop[row])))
        for row, region in drawn.items()
    ]


def join_overlapping(regions: Sequence[Region], config: SegmenterConfig) -> list[Region]:
    """One region for all whose masks overlap by JOIN_SHARE of the smaller: several proposals may show one target.

    A joined region has the best scores of its parts, the box around them as grounding, and their raw masks as one.
    """
    groups: list[list[Region]] = []
    for region in regions:
        apart, together = [], [region]
        for group in groups:
            if any(_overlap(region.mask, other.mask) >= JOIN_SHARE for other in group):
                together += group
            else:
                apart.append(group)
        groups = [*apart, together]
    return [_union(group, config) for group in groups]


def _overlap(a: BoolMask, b: BoolMask) -> float:
    """Share of the smaller mask that lies in the other."""
    smaller = min(int(a.sum()), int(b.sum()))
    return int((a & b).sum()) / max(smaller, 1)


def _union(group: Sequence[Region], config: SegmenterConfig) -> Region:
    if len(group) == 1:
        return group[0]
    mask: BoolMask = np.logical_or.reduce([region.mask for region in group])
    box_xyxy = mask_box(mask)
    assert box_xyxy is not None  # no region is empty
    grounding = Grounding(box_xyxy, score=max(region.grounding.score for region in group))
    whole = build_region(grounding, ScoredMask(mask, max(region.mask_score for region in group)), config)
    raw_masks = [region.raw_mask for region in group if region.raw_mask is not None]
    return replace(whole, raw_mask=np.logical_or.reduce(raw_masks)) if raw_masks else whole


def _left_to_right(regions: Sequence[Region]) -> tuple[Region, ...]:
    return tuple(sorted(regions, key=lambda region: float(region.box_xyxy[0])))


def selection_folder(model: str) -> Path:
    """The folder of `selection.model`. Raises ModelError if there is none."""
    try:
        folder = resource(f"models/{EMBEDDED}/selection") if model == EMBEDDED else Path(model).expanduser()
    except InvalidInput as error:
        raise ModelError(f"selection.model = {model!r}: {error}") from error
    if not folder.is_dir():
        raise ModelError(f"selection.model = {model!r} is no folder; train one with `reasonseg train selection`, or "
                         f"set it to {EMBEDDED}")  # fmt: skip
    return folder

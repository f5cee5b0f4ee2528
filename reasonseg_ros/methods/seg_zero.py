"""Seg-Zero: a reasoner thinks, then writes boxes and points; a promptable segmenter turns them into masks.

Source: Liu et al., "Seg-Zero: Reasoning-Chain Guided Segmentation via Cognitive Reinforcement", 2025.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from reasonseg_ros.config import Config
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.stages import failed
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.segmenter.port import Features, Segmenter
from reasonseg_ros.segmenter.regions import build_region, without_empty
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Region, Segmentation, Status


class SegZero(Method):
    """Answers questions about single frames.

    The segmenter encodes the image in a second thread while the reasoner thinks.
    """

    name = "seg_zero"

    def __init__(self, reasoner: Reasoner, segmenter: Segmenter, config: Config | Settings) -> None:
        self.reasoner = reasoner
        self.segmenter = segmenter
        self.settings = Settings.of(config)
        self._beside = ThreadPoolExecutor(1, "reasonseg encoder")

    @classmethod
    def build(cls, reasoner: Reasoner, segmenter: Segmenter, settings: Settings) -> Method:
        return cls(reasoner, segmenter, settings)

    def prepare(self, frame: Frame, is_wanted: Callable[[], bool] = lambda: True) -> None:
        self.segmenter.encode(frame.rgb)
        if is_wanted():
            self.reasoner.prepare(frame)

    def answer(self, frame: Frame, query: Query, call: Call = WAIT) -> Segmentation:
        call.on_stage("reasoning")
        start_s = time.perf_counter()
        beside = self.settings.now.segmenter.encode_beside
        encoding = self._beside.submit(self.segmenter.encode, frame.rgb) if beside else None
        try:
            answer = self.reasoner.answer(frame, query.text, call)
        # The port promises an Answer; a reasoner that raises fails only its question.
        except Exception as error:
            answer = failed(Answer(Status.NO_TARGET, model=self.reasoner.name), "reasoning", error)
        seconds = {"reasoning": time.perf_counter() - start_s}
        is_cancelled = call.cancelled()
        if encoding and (is_cancelled or not answer.groundings):
            encoding.cancel()  # if it is still queued; otherwise it ends soon
        if not answer.groundings:
            return Segmentation(frame, query, answer, (), seconds)
        if is_cancelled:
            stopped = replace(answer, status=Status.CANCELLED, groundings=(), error="cancelled before segmenting")
            return Segmentation(frame, query, stopped, (), seconds)
        call.on_stage("segmenting")
        return self._segment(frame, query, answer, seconds, encoding)

    def answer_batch(self, frames: Sequence[Frame], queries: Sequence[Query]) -> list[Segmentation]:
        """Think about several questions together, then segment one after the other. Thinking time is divided evenly."""
        start_s = time.perf_counter()
        answers = self.reasoner.answer_batch(frames, [query.text for query in queries])
        each_s = (time.perf_counter() - start_s) / max(len(answers), 1)
        return [
            self._segment(frame, query, answer, {"reasoning": each_s})
            if answer.groundings
            else Segmentation(frame, query, answer, (), {"reasoning": each_s})
            for frame, query, answer in zip(frames, queries, answers, strict=True)
        ]

    def prompt(self, frame: Frame, groundings: Sequence[Grounding]) -> Segmentation:
        try:
            self._check_prompts(groundings)
        except InvalidInput as error:
            return Segmentation(frame, Query(""), Answer(Status.REFUSED, error=str(error)))
        answer = Answer(Status.OK, groundings=tuple(groundings)) if groundings else Answer(Status.NO_TARGET)
        return self._segment(frame, Query(""), answer, {})

    def _check_prompts(self, groundings: Sequence[Grounding]) -> None:
        """Raises InvalidInput for points without a box if the segmenter needs boxes."""
        if self.segmenter.needs_boxes and not all(grounding.has_box for grounding in groundings):
            raise InvalidInput(
                f"points without boxes; {self.segmenter.name} needs a box for each target (needs_boxes in its card): "
                "send boxes, or use another segmenter.model"
            )

    def _segment(
        self,
        frame: Frame,
        query: Query,
        answer: Answer,
        seconds: dict[str, float],
        encoding: Future[Features] | None = None,
    ) -> Segmentation:
        start_s = time.perf_counter()
        regions: tuple[Region, ...] = ()
        try:
            self._check_prompts(answer.groundings)
            features = encoding.result() if encoding else self.segmenter.encode(frame.rgb)
            masks = self.segmenter.decode(features, answer.groundings)
            regions = tuple(
                build_region(grounding, mask, self.settings.now.segmenter)
                for grounding, mask in zip(answer.groundings, masks, strict=True)
            )
        # An error of a model is the status of one question.
        except Exception as error:
            answer = failed(answer, "segmenting", error)
        seconds = {**seconds, "segmenting": time.perf_counter() - start_s}
        return without_empty(Segmentation(frame, query, answer, regions, seconds))

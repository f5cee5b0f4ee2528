"""Rea2Seg: candidates are found first, then compared; the best one is the answer.

Candidates are the direct answer, sampled answers, and boxes from the attention of the answer's tokens. They are
compared by the votes of the samples, or by asking the model about each. The direct answer wins if nothing is better.

Source: Gao et al., "Reason Twice: Segmentation via Candidate Discovery and Comparative Reasoning", 2026,
arXiv:2606.09303. Its authors' generators are SESAME and LENS, and their scorer is a fine-tuned InternVL3-8B; here any
reasoner generates and scores. docs/methods.md lists the differences.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from reasonseg_ros.config import CandidatesConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.methods.candidates import ATTENTION, DIRECT, Candidate, attention_boxes, counted, distinct, union
from reasonseg_ros.methods.comparison import WAYS, Comparison
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.methods.stages import failed
from reasonseg_ros.methods.tracking import load_tracker
from reasonseg_ros.methods.wrapped import WrappedMethod
from reasonseg_ros.reasoner.abilities import Ability, Exploration, Explored, check_abilities
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.segmenter.port import Features, Segmenter
from reasonseg_ros.segmenter.regions import build_region, without_empty
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Region, Segmentation, Status

_FINAL = (
    Status.CANCELLED, Status.TIMEOUT, Status.REFUSED, Status.UNAVAILABLE, Status.OUT_OF_MEMORY, Status.FAILED,
)  # fmt: skip
"""Statuses of the direct answer after which sampling is impossible or pointless."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A question with its candidates.

    Attributes:
        segmentation: of the best candidate, or why there is none.
        candidates: all compared ones; the direct answer is the first, if it is an answer.
        scores: one per candidate; None if it has none.
        best: index of the chosen one; -1 without candidates.
    """

    segmentation: Segmentation
    candidates: tuple[Candidate, ...] = ()
    scores: tuple[float | None, ...] = ()
    best: int = -1


class Rea2Seg(WrappedMethod):
    """Answers questions about single frames with the best of several candidates, and others like `inner`."""

    name = "rea2_seg"
    sees_videos = True

    def __init__(self, inner: Method) -> None:
        """Raises ConfigError if the reasoner does not support the settings `candidates.*`."""
        super().__init__(inner)
        self.sees_videos = inner.sees_videos
        self._beside = ThreadPoolExecutor(1, "reasonseg encoder")
        chosen = self.settings.now.candidates
        self._comparison: Comparison = WAYS[chosen.comparison]()
        check_candidates(chosen, self._comparison, self.reasoner)

    @classmethod
    def build(cls, reasoner: Reasoner, segmenter: Segmenter, settings: Settings) -> Method:
        """Wraps ReVSeg, which tracks targets and answers about several images."""
        return cls(RevSeg(SegZero(reasoner, segmenter, settings), load_tracker(settings, segmenter)))

    def answer(self, frame: Frame, query: Query, call: Call = WAIT) -> Segmentation:
        return self.compare(frame, query, call).segmentation

    def answer_history(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> Segmentation:
        return self.inner.answer_history(frames, query, call)

    def answer_video(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> list[Segmentation]:
        return self.inner.answer_video(frames, query, call)

    def compare(self, frame: Frame, query: Query, call: Call = WAIT) -> Compared:
        """The answer with all candidates. The configured time limit is for each of the answers and replies."""
        call.on_stage("reasoning")
        clock = _Clock()
        beside = self.settings.now.segmenter.encode_beside
        encoding = self._beside.submit(self.segmenter.encode, frame.rgb) if beside else None
        explored = self._explored(frame, query, call)
        direct = explored.answer
        clock.lap("reasoning")
        if call.cancelled() and direct.status not in _FINAL:
            direct = replace(direct, status=Status.CANCELLED, groundings=(), error="cancelled before segmenting")
        if direct.status in _FINAL:
            if encoding:
                encoding.cancel()
            return Compared(Segmentation(frame, query, direct, (), clock.seconds))
        call.on_stage("segmenting")
        try:
            candidates = self._candidates(frame, explored, encoding)
            clock.lap("segmenting")
            scores = self._comparison.scores(frame, query, candidates, self.reasoner, call.after(clock.passed_s))
            clock.lap("comparing")
        # An error of a model is the status of one question.
        except Exception as error:
            return Compared(Segmentation(frame, query, failed(direct, "segmenting", error), (), clock.seconds))
        best = best_of(candidates, scores)
        if best < 0:
            return Compared(_without_best(frame, query, direct, clock), tuple(candidates), tuple(scores))
        chosen = candidates[best]
        answer = replace(chosen.answer, entropy_nats=direct.entropy_nats, no_entropy=direct.no_entropy)
        second = best_of(candidates, [None if index == best else score for index, score in enumerate(scores)])
        alternative = candidates[second].regions if second not in (-1, best) else None
        found = Segmentation(frame, query, answer, chosen.regions, clock.seconds, alternative=alternative)
        return Compared(without_empty(found), tuple(candidates), tuple(scores), best)

    def _explored(self, frame: Frame, query: Query, call: Call) -> Explored:
        chosen = self.settings.now.candidates
        wanted = Exploration(chosen.samples, chosen.temperature, chosen.seed, chosen.attention)
        try:
            return self.reasoner.explore(frame, query.text, wanted, call)
        # The port promises an Answer; a reasoner that raises fails only its question.
        except Exception as error:
            return Explored(failed(Answer(Status.NO_TARGET, model=self.reasoner.name), "reasoning", error))

    def _candidates(self, frame: Frame, explored: Explored, encoding: Future[Features] | None) -> list[Candidate]:
        direct = explored.answer if explored.answer.status.is_answer else None
        answers = counted(direct, explored.samples)
        if explored.attention is not None:
            boxes = attention_boxes(explored.attention, frame.size_wh)
            answers += [
                (
                    replace(explored.answer, status=Status.OK, groundings=(box,), error="", log_likelihood_nats=None),
                    ATTENTION,
                    0,
                )
                for box in boxes
            ]
        groundings = [grounding for answer, _, _ in answers for grounding in answer.groundings]
        regions = iter(self._regions(frame, groundings, encoding))
        return distinct(
            [
                Candidate(answer, source, votes, parts, union(parts, frame.size_wh))
                for answer, source, votes in answers
                for parts in [tuple(next(regions) for _ in answer.groundings)]
            ]
        )

    def _regions(
        self, frame: Frame, groundings: Sequence[Grounding], encoding: Future[Features] | None
    ) -> list[Region]:
        if not groundings:
            return []
        features = encoding.result() if encoding else self.segmenter.encode(frame.rgb)
        masks = self.segmenter.decode(features, groundings)
        config = self.settings.now.segmenter
        return [build_region(grounding, mask, config) for grounding, mask in zip(groundings, masks, strict=True)]


def _without_best(frame: Frame, query: Query, direct: Answer, clock: _Clock) -> Segmentation:
    """The direct answer is a failure or has only empty masks, and no candidate replaces it."""
    if direct.groundings:
        direct = replace(direct, status=Status.EMPTY_MASK, error="no pixel of any target is marked")
    return Segmentation(frame, query, direct, (), clock.seconds)


class _Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begin_s = self._last_s = time.perf_counter()

    @property
    def passed_s(self) -> float:
        return time.perf_counter() - self._begin_s

    def lap(self, stage: str) -> None:
        now_s = time.perf_counter()
        self.seconds[stage], self._last_s = now_s - self._last_s, now_s


def best_of(candidates: Sequence[Candidate], scores: Sequence[float | None]) -> int:
    """Index of the greatest score, the first of equal ones; without any score that of the direct answer, else -1."""
    known = [(score, -index) for index, score in enumerate(scores) if score is not None]
    if known:
        return -max(known)[1]
    return 0 if candidates and candidates[0].source == DIRECT else -1


_REMEDIES = {
    Ability.SAMPLES: "set candidates.samples to 0 and candidates.comparison to asked",
    Ability.ATTENTION: "set candidates.attention to false",
    Ability.REPLIES: "set candidates.comparison to votes",
}


def check_candidates(config: CandidatesConfig, comparison: Comparison, reasoner: Reasoner) -> None:
    """Raises ConfigError if the reasoner does not support the settings, or there would be nothing to compare."""
    if comparison.needs_samples and not config.samples:
        raise ConfigError(
            f"candidates.samples = 0 with candidates.comparison = {config.comparison!r}, which counts sampled answers; "
            "raise samples, or set comparison to asked"
        )
    wanted = Exploration(config.samples, attention=config.attention).needs | comparison.needs
    try:
        check_abilities(reasoner.name, reasoner.abilities, wanted)
    except ConfigError as error:
        remedies = [remedy for ability, remedy in _REMEDIES.items() if ability in wanted - reasoner.abilities]
        raise ConfigError(f"method rea2_seg: {error}; {', and '.join(remedies)}") from error

"""Adds a confidence to every answer of another method, and marks those below `answer.min_confidence` as unsure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reasonseg_ros.config import Config
from reasonseg_ros.engine.export_folder import weights_sha256
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.methods.confidence import FILE_NAME, Calibration, Signals, read_calibration
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.second_best import second_best
from reasonseg_ros.methods.stages import failed
from reasonseg_ros.methods.wrapped import WrappedMethod
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.server.address import served_as
from reasonseg_ros.reasoner.vocabulary import Vocabulary
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Answer, Frame, Query, Segmentation, Status


class Confident(WrappedMethod):
    """The answers of `inner` with `Answer.confidence`. An answer below the threshold becomes UNSURE, masks included.

    An unsure answer also has the second-best candidate, unless questions are answered in batches. Calibrations are for
    questions about one image, so answers about several frames have no confidence.
    """

    def __init__(self, inner: Method, calibration: Calibration, vocabulary: Vocabulary | None = None) -> None:
        super().__init__(inner)
        self.vocabulary = vocabulary
        self.name = inner.name
        self.sees_videos = inner.sees_videos
        self.calibration = calibration

    def answer(self, frame: Frame, query: Query, call: Call = WAIT) -> Segmentation:
        begun_s = time.perf_counter()
        found = self._judged(self.inner.answer(frame, query, call))
        if found.status is not Status.UNSURE or found.alternative is not None:
            return found
        # Only unsure answers need it.
        second_s = time.perf_counter()
        try:
            alternative = second_best(self, found, call.after(second_s - begun_s))
        except Exception as error:
            reason = failed(found.answer, "second candidate", error).error
            found = replace(found, answer=replace(found.answer, error=f"{found.answer.error}; {reason}"))
            alternative = None
        seconds = {**found.seconds, "second_candidate": time.perf_counter() - second_s}
        return replace(found, alternative=alternative, seconds=seconds)

    def answer_batch(self, frames: Sequence[Frame], queries: Sequence[Query]) -> list[Segmentation]:
        return [self._judged(found) for found in self.inner.answer_batch(frames, queries)]

    def answer_history(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> Segmentation:
        return self.inner.answer_history(frames, query, call)

    def answer_video(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> list[Segmentation]:
        return self.inner.answer_video(frames, query, call)

    def _judged(self, found: Segmentation) -> Segmentation:
        signals = Signals.of(found, self.vocabulary)
        if signals is None:
            return _without_confidence(found)
        answer = replace(found.answer, confidence=self.calibration.confidence(signals))
        chosen = self.settings.now.answer.min_confidence
        threshold = self.calibration.min_confidence if chosen < 0 else chosen
        return replace(found, answer=marked_unsure(answer, threshold))


def _without_confidence(found: Segmentation) -> Segmentation:
    """`found`, with a note if it is an answer whose confidence should be known but is not."""
    answer = found.answer
    if not answer.status.is_answer or not answer.no_entropy:
        return found
    words = f"no confidence: {answer.no_entropy}"
    return replace(found, answer=replace(answer, error="; ".join(filter(None, (words, answer.error)))))


def marked_unsure(answer: Answer, min_confidence: float) -> Answer:
    """`answer` as UNSURE if its confidence is known and below `min_confidence`."""
    if answer.confidence is None or answer.confidence >= min_confidence or not answer.status.is_answer:
        return answer
    kind = "" if answer.groundings else "that nothing fits is unsure: "
    error = f"{kind}confidence {answer.confidence:.2f} is below {min_confidence:g} (answer.min_confidence)"
    return replace(answer, status=Status.UNSURE, error="; ".join(filter(None, (error, answer.error))))


def with_confidence(method: Method, settings: Settings) -> Method:
    """`method` with the calibration of its reasoner, by default the one beside its checkpoint; else `method`.

    Raises ModelError if the calibration is damaged, cannot be read, or belongs to other weights, and ConfigError if
    `answer.min_confidence` is set without one.
    """
    config = settings.now
    chosen = config.reasoner.confidence_file
    check_threshold(config)
    if why_no_confidence(config):
        return method
    card = load_card(config.reasoner.model, "reasoner")
    is_served = config.reasoner.backend == "server"
    path = Path(chosen).expanduser() if chosen else Path(card.source, FILE_NAME)
    vocabulary = Vocabulary(Path(card.vocabulary)) if card.vocabulary else None
    if is_served:
        if not config.reasoner.server_logprobs:
            raise ConfigError(
                f"reasoner.confidence_file = {chosen!r} needs the entropy of the answers; set reasoner.server_logprobs "
                "to true, or leave the file out"
            )
        name = served_as(card, config.reasoner.server_model)
        return Confident(method, read_calibration(path, served_model=name), vocabulary)
    if not card.is_folder:
        raise ConfigError(
            f"reasoner.confidence_file = {chosen!r} is for weights that are compared by their digest, and those of "
            f"{config.reasoner.model} are not in a folder; set reasoner.model to their folder"
        )
    return Confident(method, read_calibration(path, weights_sha256(Path(card.source))), vocabulary)


def why_no_confidence(config: Config) -> str:
    """Why answers have no confidence with these settings; empty if they have one."""
    if config.method == "llm_seg":
        return "the calibration is not of LLM-Seg's answers"
    if config.reasoner.confidence_file:
        return ""
    if config.reasoner.backend == "server":
        return "a server needs reasoner.confidence_file"
    card = load_card(config.reasoner.model, "reasoner")
    has_file = card.is_folder and Path(card.source, FILE_NAME).is_file()
    return "" if has_file else f"{config.reasoner.model} has no {FILE_NAME}"


def check_threshold(config: Config) -> None:
    """Raises ConfigError if a threshold is set and confidences are not known."""
    min_confidence = config.answer.min_confidence
    if min_confidence > 0 and (why := why_no_confidence(config)):
        raise ConfigError(
            f"answer.min_confidence = {min_confidence:g}, but {why}, so no answer has a confidence; fit one with "
            "`reasonseg calibrate`, or set it to 0"
        )

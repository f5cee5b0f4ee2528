"""ReVSeg: questions about what happened, answered in two rounds and then tracked through the video.

Round 1 sees some of the frames and chooses the one that shows the target best, with a description. Round 2 asks for the
described target in that frame alone, like any question about one image. The target is then tracked from there
to the end and, backwards in time, to the beginning.

Source: Li et al., "ReVSeg: Incentivizing the Reasoning Chain for Video Segmentation with Reinforcement Learning", 2025,
arXiv:2512.02835.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.methods.port import MakeTracker, Method
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.methods.stages import failed
from reasonseg_ros.methods.tracking import load_tracker
from reasonseg_ros.methods.wrapped import WrappedMethod
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.reasoner.rounds import Keyframe, failed_keyframe, sampled
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.segmenter.regions import tracked, without_empty
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Answer, Frame, Query, Segmentation, Status

_FINAL = (Status.NO_TARGET, Status.CANCELLED, Status.TIMEOUT, Status.REFUSED, Status.UNAVAILABLE)
"""Statuses of round 1 after which asking about the newest frame would not help or is not wanted."""


@dataclass(frozen=True, eq=False)
class LookBack:
    """The two rounds of one question.

    Attributes:
        segmentation: the answer on the frame that round 2 was asked about; on the newest if round 2 was not asked.
        index: of that frame among all frames.
        keyframe: the result of round 1, with its status. `segmentation` has that of round 2, or of both.
        fell_back: round 1 failed, so the newest frame was asked about.
    """

    segmentation: Segmentation
    index: int
    keyframe: Keyframe
    fell_back: bool = False


class RevSeg(WrappedMethod):
    """Answers questions about several frames in two rounds, and about one frame as the method `inner` does."""

    name = "rev_seg"
    sees_videos = True

    make_tracker: MakeTracker

    def __init__(self, inner: Method, make_tracker: MakeTracker) -> None:
        super().__init__(inner)
        self.make_tracker = make_tracker

    @classmethod
    def build(cls, reasoner: Reasoner, segmenter: Segmenter, settings: Settings) -> Method:
        return cls(SegZero(reasoner, segmenter, settings), load_tracker(settings, segmenter))

    def answer(self, frame: Frame, query: Query, call: Call = WAIT) -> Segmentation:
        return self.inner.answer(frame, query, call)

    def answer_batch(self, frames: Sequence[Frame], queries: Sequence[Query]) -> list[Segmentation]:
        return self.inner.answer_batch(frames, queries)

    def answer_history(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> Segmentation:
        return self.look_back(frames, query, call).segmentation

    def answer_video(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> list[Segmentation]:
        return self.follow(self.look_back(frames, query, call), frames)

    def look_back(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> LookBack:
        """Both rounds. The call's time limit is for both together; the configured one is for each.

        Round 1 is shown evenly spaced frames: `history.frames`, or the reasoner's number. If it fails, the newest frame
        is used and the answer's `error` says so. Raises InvalidInput without frames.
        """
        if not frames:
            raise InvalidInput("no frames to look back at; wait for the camera")
        call.on_stage("reasoning")
        start_s = time.perf_counter()
        shown = sampled(len(frames), self.settings.now.history.frames or self.reasoner.frames)
        try:
            keyframe = self.reasoner.choose([frames[i] for i in shown], query.text, call)
        # The port promises a Keyframe; a reasoner that raises fails only its question.
        except Exception as error:
            keyframe = failed_keyframe(failed(Answer(Status.NO_TARGET), "reasoning", error))
        seconds = {"choosing": time.perf_counter() - start_s}
        newest = len(frames) - 1
        if keyframe.status in _FINAL:
            answer = Answer(
                keyframe.status, keyframe.thought, raw_text=keyframe.raw_text, error=keyframe.error,
                model=self.reasoner.name, tokens=keyframe.tokens,
            )  # fmt: skip
            return LookBack(Segmentation(frames[newest], query, answer, (), seconds), newest, keyframe)
        fell_back = keyframe.status is not Status.OK
        index = newest if fell_back else shown[keyframe.index]
        second = self.inner.answer(
            frames[index], Query(keyframe.description or query.text, query.query_id), call.after(seconds["choosing"])
        )
        answer = _both(keyframe, second.answer, index)
        both = replace(second, query=query, answer=answer, seconds={**seconds, **second.seconds})
        return LookBack(both, index, keyframe, fell_back)

    def follow(self, looked: LookBack, frames: Sequence[Frame]) -> list[Segmentation]:
        """The answer on each of `frames`, which are those of the look-back. A frame without a visible target has the
        status NO_TARGET.
        """
        base, index = looked.segmentation, looked.index
        if not base.regions:
            return [replace(base, frame=frame) for frame in frames]
        start_s = time.perf_counter()
        try:
            forwards = self._followed(base, frames[index:])
            # The tracker needs growing stamps, so time is mirrored at the keyframe.
            backwards = self._followed(base, frames[index::-1])
        except Exception as error:
            answer = failed(base.answer, "tracking", error)
            return [replace(base, frame=frame, answer=answer, regions=()) for frame in frames]
        each_s = (time.perf_counter() - start_s) / len(frames)
        return [
            replace(one, seconds={**base.seconds, "tracking": each_s})
            for one in (*backwards[:0:-1], replace(base, reasoned_stamp_ns=base.frame.stamp_ns), *forwards[1:])
        ]

    def _followed(self, base: Segmentation, frames: Sequence[Frame]) -> list[Segmentation]:
        """`base`, which belongs to the first of `frames`, on each of them."""
        tracker = self.make_tracker()
        begin_ns = base.frame.stamp_ns
        groundings, masks = [region.grounding for region in base.regions], [region.mask for region in base.regions]
        tracker.add(self.segmenter.encode(base.frame.rgb), groundings, begin_ns, masks)
        found = [base]
        for frame in frames[1:]:
            if frame.size_wh != base.frame.size_wh:
                raise InvalidInput(f"frames of {base.frame.size_wh} and {frame.size_wh} pixels; expected one size")
            tracks = tracker.step(self.segmenter.encode(frame.rgb), begin_ns + abs(frame.stamp_ns - begin_ns))
            regions = tuple(tracked(region, track) for region, track in zip(base.regions, tracks, strict=True))
            found.append(_seen(replace(base, frame=frame, regions=regions, reasoned_stamp_ns=begin_ns)))
        return found


def _seen(segmentation: Segmentation) -> Segmentation:
    """Without the targets that are not visible in this frame; NO_TARGET if none is visible."""
    found = without_empty(segmentation)
    if found.status is not Status.EMPTY_MASK:
        return found
    return replace(found, answer=replace(found.answer, status=Status.NO_TARGET, groundings=()))


def _both(keyframe: Keyframe, second: Answer, index: int) -> Answer:
    """One Answer for both rounds: both thoughts, and the error of each round."""
    notes = []
    if keyframe.status is not Status.OK:
        notes.append(f"round 1: {keyframe.status} ({keyframe.error}); the newest image was asked about")
    status = second.status
    if keyframe.status is Status.OK and status is Status.NO_TARGET:
        # Round 1 said that it is there.
        status = Status.CONTRADICTION
        notes.append(f"round 2: nothing like {keyframe.description!r} is found in the chosen image, number {index + 1}")
    if second.error:
        notes.append(f"round 2: {second.error}")
    return replace(
        second,
        status=status,
        thought=" ".join(text for text in (keyframe.thought, second.thought) if text),
        raw_text="\n".join(text for text in (keyframe.raw_text, second.raw_text) if text),
        error="; ".join(notes),
        tokens=keyframe.tokens + second.tokens,
    )

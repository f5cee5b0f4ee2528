"""A question to its masks, and the reasoner's tokens, against the plain sequence with the same checkpoints.

Each side has the threads that it has by itself: the plain one torch's default, ours those that the reasoner sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.plain import PlainSequence
from benchmarks.results import Row, compared
from benchmarks.samples import shipped_questions
from benchmarks.timing import mean_of, side_by_side
from reasonseg_ros.config import config_from
from reasonseg_ros.evaluation.reading.samples import Sample
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.methods.loading import load_method
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.local.decoding import FastDecoder
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.torch_device import choose_dtype
from reasonseg_ros.types import BoolMask, Frame, Query

SEQUENCE = "process, `generate`, parse, set image, predict (transformers)"


def rows(device: str, repetitions: int, questions: int = 0) -> Iterator[Row]:
    """The shipped bag's questions with a target, the first so many of them or all."""
    samples = shipped_questions()[: questions or None]
    usual = torch.get_num_threads()
    config = config_from({"method": "seg_zero", "reasoner.device": device, "segmenter.device": device})
    method = load_method(config)
    coarse = replace(config, segmenter=replace(config.segmenter, refine="none"))
    unrefined = SegZero(method.reasoner, KeptFeatures(load_segmenter(coarse.segmenter)), coarse)
    plain = PlainSequence(device, choose_dtype("auto", torch.device(device)))
    threads = Threads(usual, torch.get_num_threads())
    yield from question_rows(plain, method, unrefined, samples, repetitions, threads)
    yield token_row(plain, samples, repetitions, threads)


@dataclass(frozen=True)
class Threads:
    """Of torch, on either side."""

    other: int
    ours: int

    def before(self, ways: Iterable[str], **further: Callable[[], object]) -> dict[str, Callable[[], None]]:
        """What sets them for each way, all but `other` being ours, and then does what is `further` to be done."""

        def begin(name: str) -> None:
            torch.set_num_threads(self.other if name == "other" else self.ours)
            if name in further:
                further[name]()

        return {name: partial(begin, name) for name in ways}


class Asked:
    """A question that is asked about its image again and again, each time as if the image were new."""

    def __init__(self, method: SegZero, sample: Sample) -> None:
        self.rgb, self.text = sample.load_frame().rgb, sample.question
        self._method = method
        self.renew()

    def renew(self) -> None:
        self._frame = Frame(self.rgb.copy())  # what is kept of an image is found by its identity

    def prepare(self) -> None:
        self.renew()
        self._method.prepare(self._frame)

    def mask(self) -> BoolMask:
        return self._method.answer(self._frame, Query(self.text)).mask


def question_rows(
    plain: PlainSequence,
    method: SegZero,
    unrefined: SegZero,
    samples: Sequence[Sample],
    repetitions: int,
    threads: Threads,
) -> Iterator[Row]:
    """Images that are new, with masks refined and, like the plain sequence's, not; and images that were prepared."""
    measured, ious = [], []
    for sample in samples:
        asked, alike = Asked(method, sample), Asked(unrefined, sample)
        ways: dict[str, Callable[[], Any]] = {
            "other": partial(plain.answer, asked.rgb, asked.text),
            "fresh": asked.mask,
            "alike": alike.mask,
            "prepared": asked.mask,
        }
        before = threads.before(ways, fresh=asked.renew, alike=alike.renew, prepared=asked.prepare)
        times, masks = side_by_side(ways, repetitions, before=before)
        measured.append(times)
        ious.append({name: mask_iou(mask, masks["other"]) for name, mask in masks.items()})
    times = mean_of(measured)
    for name, told, aim in (
        ("fresh", "a fresh frame", 1.3),
        ("alike", "a fresh frame, masks not refined", 1.3),
        ("prepared", "a frame that was prepared", 2.5),
    ):
        pair = {"ours": times[name], "other": times["other"]}
        iou = np.mean([found[name] for found in ious])
        note = f"{len(samples)} questions, one an image; torch's threads: {threads.ours}, the other's {threads.other}; "
        note += "" if name == "alike" else "here masks are refined as well; "
        note += f"mean IoU with the other's: {iou:.3f}"
        yield compared(f"question to masks, {told}", "`SegZero.answer`", SEQUENCE, aim, pair, note=note)


def token_row(plain: PlainSequence, samples: Sequence[Sample], repetitions: int, threads: Threads) -> Row:
    """Whole answers, the reading of the prompt included on both sides, with the very same model."""
    decoder, measured, tokens, differing = FastDecoder(plain.model), [], 0, 0
    for sample in samples:
        inputs = plain.inputs(sample.load_frame().rgb, sample.question)
        ours = partial(decoder.decode, inputs, plain.card.max_new_tokens, lambda _: True)
        ways: dict[str, Callable[[], Any]] = {"other": partial(plain.generated, inputs), "ours": ours}
        times, said = side_by_side(ways, repetitions, before=threads.before(ways))
        measured.append(times)
        tokens += len(said["other"])
        differing += said["ours"][0].tokens != said["other"]
    times = mean_of(measured)
    each = {name: round(tokens / len(samples) / found.median_s, 1) for name, found in times.items()}
    return compared(
        "tokens a second, tiny checkpoint, prompt included", "`FastDecoder`", "transformers' `generate`", 1.5, times,
        note=f"{each['ours']} against {each['other']} tokens/s; {differing} of {len(samples)} answers differ",
        details={"tokens_a_second": each},
    )  # fmt: skip

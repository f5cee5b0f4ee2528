"""A question to its masks, and the reasoner's tokens, against the plain sequence with the same checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from benchmarks.plain import PlainSequence
from benchmarks.results import Row, compared
from benchmarks.samples import shipped_questions
from benchmarks.timing import mean_of, side_by_side
from reasonseg_ros.config import config_from
from reasonseg_ros.evaluation.samples import Sample
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.methods.loading import load_method
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.decoding import FastDecoder
from reasonseg_ros.torch_device import choose_dtype
from reasonseg_ros.types import BoolMask, Frame, Query

SEQUENCE = "process, `generate`, parse, set image, predict (transformers)"


def rows(device: str, repetitions: int, questions: int = 0) -> Iterator[Row]:
    """The shipped bag's questions with a target, the first so many of them or all."""
    samples = shipped_questions()[: questions or None]
    method = load_method(config_from({"reasoner.device": device, "segmenter.device": device}))
    plain = PlainSequence(device, choose_dtype("auto", torch.device(device)))
    yield from question_rows(plain, method, samples, repetitions)
    yield token_row(plain, samples, repetitions)


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


def question_rows(plain: PlainSequence, method: SegZero, samples: Sequence[Sample], repetitions: int) -> Iterator[Row]:
    """A row for images that are new, and one for images that were prepared."""
    measured, ious = [], []
    for asked in (Asked(method, sample) for sample in samples):
        times, masks = side_by_side(
            {"other": partial(plain.answer, asked.rgb, asked.text), "fresh": asked.mask, "prepared": asked.mask},
            repetitions,
            before={"fresh": asked.renew, "prepared": asked.prepare},
        )
        measured.append(times)
        ious.append(mask_iou(masks["fresh"], masks["other"]))
    times = mean_of(measured)
    note = f"{len(samples)} questions, one an image; here masks are refined as well, mean IoU with the other's: "
    for name, told, aim in (("fresh", "a fresh frame", 1.3), ("prepared", "a frame that was prepared", 2.5)):
        pair = {"ours": times[name], "other": times["other"]}
        shared = note + f"{np.mean(ious):.3f}"
        yield compared(f"question to masks, {told}", "`SegZero.answer`", SEQUENCE, aim, pair, note=shared)


def token_row(plain: PlainSequence, samples: Sequence[Sample], repetitions: int) -> Row:
    """Whole answers, the reading of the prompt included on both sides, with the very same model."""
    decoder, measured, tokens, differing = FastDecoder(plain.model), [], 0, 0
    for sample in samples:
        inputs = plain.inputs(sample.load_frame().rgb, sample.question)
        ours = partial(decoder.decode, inputs, plain.card.max_new_tokens, lambda _: True)
        times, said = side_by_side({"other": partial(plain.generated, inputs), "ours": ours}, repetitions)
        measured.append(times)
        tokens += len(said["other"])
        differing += said["ours"][0] != said["other"]
    times = mean_of(measured)
    each = {name: round(tokens / len(samples) / found.median_s, 1) for name, found in times.items()}
    return compared(
        "tokens a second, tiny checkpoint, prompt included", "`FastDecoder`", "transformers' `generate`", 1.5, times,
        note=f"{each['ours']} against {each['other']} tokens/s; {differing} of {len(samples)} answers differ",
        details={"tokens_a_second": each},
    )  # fmt: skip

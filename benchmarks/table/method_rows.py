"""From a question to its masks, and the reasoner's tokens, compared with the plain sequence on the same checkpoints.

Each side runs in a separate process with its default number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.results import Row, compared
from benchmarks.samples import LabelledQuestion, shipped_questions
from benchmarks.table.elsewhere import Elsewhere
from benchmarks.timing import Times, mean_of, side_by_side
from reasonseg_ros.config import Config, config_from
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.methods.loading import load_method
from reasonseg_ros.reasoner.limits import Limits
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.reasoner.speaking import SpeakingReasoner
from reasonseg_ros.types import BoolMask, Frame, Query, RgbImage

SEQUENCE = "process, `generate`, parse, set image, predict (transformers)"
LONGEST_TOKENS, MOST_S = 160, 600.0


def rows(device: str, repetitions: int, questions: int = 0) -> Iterator[Row]:
    """The shipped bag's questions with a target, the first of them or all (0)."""
    samples = shipped_questions()[: questions or None]
    with Elsewhere(plain_way, device) as plain, Elsewhere(our_way, device) as ours:
        yield from question_rows(plain, ours, samples, repetitions)
        yield token_row(plain, ours, samples, repetitions)


def plain_way(device: str) -> Callable[..., Any]:
    """`mask` (rgb, text) and `tokens` as a user would write them."""
    import torch

    from benchmarks.table.plain import PlainSequence
    from reasonseg_ros.torch_device import choose_dtype

    plain = PlainSequence(device, choose_dtype("auto", torch.device(device)))

    def run(what: str, rgb: RgbImage, text: str) -> Any:
        return plain.answer(rgb, text) if what == "mask" else plain.generated(plain.inputs(rgb, text))

    return run


def our_way(device: str) -> Callable[..., Any]:
    """`fresh`, `alike` (not refined) and `prepared` masks, and `tokens`. Every image is treated as new."""
    config = config_from({"method": "seg_zero", "reasoner.device": device, "segmenter.device": device})
    method = load_method(config)
    unrefined = load_method(replace(config, segmenter=replace(config.segmenter, refine="none")))
    # With the cache of an image a repeated question would be answered at once.
    reasoner = load_reasoner(replace(config.reasoner, kept_frames=0))
    assert isinstance(reasoner, SpeakingReasoner)
    waiting: list[Frame] = []

    def run(what: str, rgb: RgbImage, text: str) -> Any:
        frame = Frame(rgb.copy())  # caches find an image by its identity
        if what == "prepare":
            method.prepare(frame)
            waiting[:] = [frame]
            return None
        if what == "tokens":
            return reasoner.say_about(frame, text.lower().rstrip('.?!" '), Limits(LONGEST_TOKENS, MOST_S)).tokens
        if what == "prepared":
            frame = waiting[0]
        return (unrefined if what == "alike" else method).answer(frame, Query(text)).mask

    return run


def in_turns(
    ways: dict[str, tuple[Elsewhere, tuple[Any, ...]]], repetitions: int, before: dict[str, Callable[[], object]]
) -> tuple[dict[str, Times], dict[str, Any]]:
    """`side_by_side` for other processes, with their CPU time."""
    spent: dict[str, list[float]] = {name: [] for name in ways}

    def call(name: str) -> Any:
        process, values = ways[name]
        result = process(*values)
        spent[name].append(process.cpu_s)
        return result

    times, results = side_by_side({name: partial(call, name) for name in ways}, repetitions, before=before)
    for name, found in times.items():
        found.cpu_s = spent[name][-repetitions:]
    return times, results


def question_rows(
    plain: Elsewhere, ours: Elsewhere, samples: Sequence[LabelledQuestion], repetitions: int
) -> Iterator[Row]:
    """New images with refined masks, new images with unrefined masks as in the plain sequence, and prepared images."""
    measured, ious = [], []
    for sample in samples:
        asked = sample.load_frame().rgb, sample.question
        ways = {name: (ours, (name, *asked)) for name in ("fresh", "alike", "prepared")}
        before = {"prepared": partial(ours, "prepare", *asked)}
        times, masks = in_turns({"other": (plain, ("mask", *asked)), **ways}, repetitions, before)
        measured.append(times)
        other: BoolMask = masks["other"]
        ious.append({name: mask_iou(mask, other) for name, mask in masks.items()})
    times = mean_of(measured)
    for name, what, aim in (
        ("fresh", "a fresh frame", 3.0),
        ("alike", "a fresh frame, masks not refined", 3.0),
        ("prepared", "a frame that was prepared", 5.0),
    ):
        pair = {"ours": times[name], "other": times["other"]}
        iou = np.mean([found[name] for found in ious])
        note = f"{len(samples)} questions, one an image; separate processes; "
        note += "" if name == "alike" else "here masks are refined as well; "
        note += f"mean IoU with the other's: {iou:.3f}"
        yield compared(f"question to masks, {what}", "`SegZero.answer`", SEQUENCE, aim, pair, note=note)


def token_row(plain: Elsewhere, ours: Elsewhere, samples: Sequence[LabelledQuestion], repetitions: int) -> Row:
    """Whole answers, so both sides resize the image and read the prompt."""
    measured, tokens, differing = [], 0, 0
    for sample in samples:
        asked = "tokens", sample.load_frame().rgb, sample.question
        times, said = in_turns({"other": (plain, asked), "ours": (ours, asked)}, repetitions, {})
        measured.append(times)
        tokens += len(said["other"])
        differing += said["ours"] != len(said["other"])
    times = mean_of(measured)
    each = {name: round(tokens / len(samples) / found.median_s, 1) for name, found in times.items()}
    backend = Config().reasoner.backend
    return compared(
        "tokens a second, tiny checkpoint, image and prompt included", f"reasoner, backend {backend}",
        "transformers' processor and `generate`", 3.5, times,
        note=f"{each['ours']} against {each['other']} tokens/s; {differing} of {len(samples)} answers differ in "
        "length; separate processes, each with its default threads",
        details={"tokens_a_second": each},
    )  # fmt: skip

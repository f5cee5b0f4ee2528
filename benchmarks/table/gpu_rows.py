"""Rows that need a GPU: SAM2.1 of every size with TensorRT and ONNX Runtime, and reasoners of the published shapes.

All weights are random, so nothing is downloaded; neither time nor memory depends on their values.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.results import Row, compared
from benchmarks.table import sam2_shapes
from benchmarks.table.apart import attempted
from benchmarks.table.random_reasoner import BY_NAME, Pointing, Shape, image_inputs, random_model, token_bytes
from benchmarks.table.sam2_shapes import SIZE_PX, OfficialPredictor, picture_with_prompts
from benchmarks.table.segmenter_rows import CAMERA_WH, OBJECTS, OFFICIAL, decoder_rows, encoder_rows
from benchmarks.timing import Times, side_by_side
from reasonseg_ros.config import Config
from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.errors import ModelError, ReasonSegError
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.local.decoding import FastDecoder
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.types import Frame, Query

NEW_TOKENS = 128
LEAST_SHARE = 60.0
EAGER = f"{OFFICIAL}, bfloat16"
QUESTION = "something to drive a nail in with"
RUNTIMES = ("tensorrt", "tensorrt_rtx", "onnxruntime")
T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    """Device and sizes of the measurement.

    Attributes:
        size_px: side of SAM2's square; `changes` are hydra's overrides of its configuration.
        shape: of the reasoner in place of the published ones.
    """

    device: str = "cuda"
    dtype: torch.dtype = torch.bfloat16
    size_px: int = SIZE_PX
    changes: tuple[str, ...] = ()
    shape: Shape | None = None
    copied_bytes: int = 1 << 30
    new_tokens: int = NEW_TOKENS


GPU = Scale()
STAND_IN = Scale(
    "cpu", torch.float32, 64, ("++model.image_size=64",),
    Shape(
        "small", 48, 2, 3, 1, 64, 2000, True, mrope=(2, 3, 3), vision_depth=4, vision_hidden=32, vision_heads=2,
        vision_intermediate=48, image_wh=(112, 112),
    ), 1 << 24, 5,
)  # fmt: skip
"""The same code on a CPU, with sizes for a test. Its figures mean nothing."""


def engine_rows(size: str, cache: Path, repetitions: int, scale: Scale = GPU) -> Iterator[Row]:
    """Encoder and decoder of one size of SAM2.1: float16 with each runtime, compared with torch."""
    shape = f"SAM2.1 {size} at {scale.size_px} px"
    model = sam2_shapes.official_model(size, scale.changes)
    source = str(sam2_shapes.checkpoint(model, cache / f"sam2.1-{size}-{scale.size_px}-random"))
    predictor, memory = loaded(partial(OfficialPredictor, model, scale.device), _encoded)
    yield memory_row(shape, EAGER, memory)
    folder = sam2_shapes.exported(source, scale.size_px, "fp16", cache)
    for runtime in RUNTIMES:
        rows = partial(runtime_rows, predictor, folder, runtime, shape, repetitions, scale.device)
        yield from with_peak_memory(attempted(f"{shape}, {runtime} fp16", rows))


def runtime_rows(
    predictor: OfficialPredictor, folder: Path, runtime: str, shape: str, repetitions: int, device: str
) -> Iterator[Row]:
    """One export with one runtime, compared with the official predictor."""
    precise = f"{runtime} fp16"
    chosen = SegmenterConfig(model=str(folder), device=device, backend=runtime, refine="none")
    segmenter, memory = loaded(partial(load_segmenter, chosen), _encoded)
    yield memory_row(shape, precise, memory)
    yield from encoder_rows(predictor, {precise: segmenter}, 4 * repetitions, {}, shape)
    yield from decoder_rows(predictor, segmenter, 2 * repetitions, {1: None, OBJECTS: None}, f"{shape}, {precise}")


def reasoner_rows(name: str, cache: Path, repetitions: int, scale: Scale = GPU) -> Iterator[Row]:
    """Qwen2.5-VL of 3B or 7B, with SAM2.1 large."""
    shape = scale.shape or BY_NAME[name]
    bandwidth = copy_bandwidth(scale.device, scale.copied_bytes)
    yield Row(f"memory bandwidth, beside {shape.name}", "copied, read and written", value=bandwidth / 1e9, unit="GB/s")
    model, memory = loaded(partial(random_model, shape, scale.device, scale.dtype), lambda _: None)
    yield memory_row(f"weights of the shape of {shape.name}", str(scale.dtype).removeprefix("torch."), memory)
    tokens = partial(token_rows, shape, model, repetitions, bandwidth, scale.new_tokens)
    yield from with_peak_memory(attempted(f"tokens, {shape.name}", tokens))

    def questions() -> Iterator[Row]:
        size = "tiny" if scale.changes else "large"
        official = sam2_shapes.official_model(size, scale.changes)
        source = sam2_shapes.checkpoint(official, cache / f"sam2.1-{size}-{scale.size_px}-random")
        config = working_segmenter(source, scale, cache)
        method = SegZero(
            Pointing(shape, model, scale.new_tokens), KeptFeatures(load_segmenter(config.segmenter)), config
        )
        yield from question_rows(method, OfficialPredictor(official, scale.device), repetitions)

    yield from with_peak_memory(attempted(f"question to mask, shape of {shape.name}", questions))


def working_segmenter(source: Path, scale: Scale, cache: Path) -> Config:
    """Settings with the first runtime that can run the checkpoint here, else torch."""
    reasons = []
    for runtime in (*RUNTIMES, "torch"):
        try:
            folder = source if runtime == "torch" else sam2_shapes.exported(str(source), scale.size_px, "fp16", cache)
            chosen = SegmenterConfig(model=str(folder), device=scale.device, backend=runtime, refine="none")
            _encoded(load_segmenter(chosen))
        except Exception as error:  # a library may raise anything, and another one may work
            reasons.append(f"{runtime}: {error}")
        else:
            return Config(segmenter=chosen)
    raise ModelError("; ".join(reasons))


def memory_row(of: str, ours: str, memory: tuple[float, float]) -> Row:
    held_mib, most_mib = memory
    note = f"{held_mib:.0f} MiB of them stay" if most_mib else "no GPU here"
    return Row(f"GPU memory, {of}", ours, value=most_mib, unit="MiB", note=note)


def token_rows(
    shape: Shape, model: Any, repetitions: int, bandwidth: float, new_tokens: int = NEW_TOKENS
) -> Iterator[Row]:
    """Reading a prompt with an image of 840 x 840, then tokens one by one, both compared with `generate`.

    The memory `bandwidth`, bytes per second, limits the tokens: each reads all weights and all earlier keys and values.
    """
    inputs, decoder = image_inputs(shape, model), FastDecoder(model)
    prompt = inputs["input_ids"].shape[1]

    def plain(count: int) -> list[int]:
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=count, do_sample=False)
        return list(tokens[0, prompt:].tolist())

    def ours(count: int) -> list[int]:
        return decoder.decode(inputs, count, lambda _: True)[0].tokens

    ways = {f"{way.__name__} {count}": partial(way, count) for way in (plain, ours) for count in (1, new_tokens)}
    times, said = side_by_side(ways, repetitions, warm_up=2)
    if len(said[f"ours {new_tokens}"]) != new_tokens or len(said[f"plain {new_tokens}"]) != new_tokens:
        raise ReasonSegError(f"the random {shape.name} ended its answer early; choose another seed")
    same = said[f"ours {new_tokens}"] == said[f"plain {new_tokens}"]
    reading = {"ours": times["ours 1"], "other": times["plain 1"]}
    yield compared(
        f"prompt of {prompt} tokens read, {shape.name}", "`FastDecoder`", "`generate`", None, reading,
        note=f"{prompt / reading['ours'].median_s:.0f} against {prompt / reading['other'].median_s:.0f} tokens/s",
    )  # fmt: skip
    each = {
        side: _each(times[f"{way} {new_tokens}"], times[f"{way} 1"], new_tokens - 1)
        for side, way in (("ours", "ours"), ("other", "plain"))
    }
    yield compared(
        f"one further token, {shape.name}", "`FastDecoder`", "`generate`", None, each,
        note=f"{1 / each['ours'].median_s:.1f} against {1 / each['other'].median_s:.1f} tokens/s over {new_tokens} "
        f"tokens, which are {'the same' if same else 'not all the same (sums are rounded in another order)'}",
    )  # fmt: skip
    bound = bandwidth / token_bytes(model, prompt + new_tokens // 2)
    yield Row(
        f"tokens a second of what the memory bandwidth allows, {shape.name}", "`FastDecoder`, one question at a time",
        value=100 / each["ours"].median_s / bound, unit="% of the bound", aim=LEAST_SHARE,
        note=f"bound {bound:.1f} tokens/s: weights, keys and values read once a token; `generate` reaches "
        f"{100 / each['other'].median_s / bound:.0f} %",
    )  # fmt: skip


def _each(whole: Times, first: Times, count: int) -> Times:
    """Mean time of the `count` tokens after the first."""
    return Times(
        [(a - b) / count for a, b in zip(whole.wall_s, first.wall_s, strict=True)],
        [(a - b) / count for a, b in zip(whole.cpu_s, first.cpu_s, strict=True)],
    )


def question_rows(method: SegZero, predictor: OfficialPredictor, repetitions: int) -> Iterator[Row]:
    """From a 720p image and a question to one mask. The answer's text has the given length, and its box is made up."""
    reasoner = method.reasoner
    assert isinstance(reasoner, Pointing)
    rgb, _ = picture_with_prompts(CAMERA_WH)
    frames = {"now": Frame(rgb)}

    def plain() -> None:
        inputs = reasoner.plain_inputs(frames["now"], QUESTION)
        with torch.inference_mode():
            tokens = reasoner.model.generate(**inputs, max_new_tokens=reasoner.new_tokens, do_sample=False)
        reasoner.processor.tokenizer.decode(tokens[0].tolist(), skip_special_tokens=True)
        predictor.encode(rgb)
        predictor.decode([reasoner.target])

    def renew() -> None:
        frames["now"] = Frame(rgb.copy())

    def prepare() -> None:
        renew()
        method.prepare(frames["now"])

    def ask() -> Any:
        found = method.answer(frames["now"], Query(QUESTION))
        if not found.regions:
            raise ReasonSegError(f"no mask: {found.status} {found.answer.error}")
        return found

    times, _ = side_by_side(
        {"other": plain, "fresh": ask, "prepared": ask}, repetitions, warm_up=2,
        before={"fresh": renew, "prepared": prepare},
    )  # fmt: skip
    for way, frame in (("fresh", "a fresh frame"), ("prepared", "a frame that was prepared")):
        yield compared(
            f"question to mask, {frame}, {reasoner.name}", f"`SegZero.answer`, {method.segmenter.name}",
            f"process, `generate`, set image, predict ({EAGER})", {"fresh": 1.3, "prepared": 2.5}[way],
            {"ours": times[way], "other": times["other"]}, note=f"answers of {reasoner.new_tokens} tokens",
        )  # fmt: skip


def copy_bandwidth(device: str, size_bytes: int, repetitions: int = 10) -> float:
    """Bytes read and written per second when one tensor is copied to another, the best of several runs."""
    source = torch.empty(size_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        _settle()

    times, _ = side_by_side({"copy": copy}, repetitions)
    return 2 * size_bytes / min(times["copy"].wall_s)


def loaded(make: Callable[[], T], use: Callable[[T], object]) -> tuple[T, tuple[float, float]]:
    """Result of `make`, its GPU memory after the first use, and the peak until then, MiB."""
    before_mib, _ = used_mib()
    made = make()
    use(made)
    held_mib, most_mib = used_mib()
    return made, (held_mib - before_mib, most_mib - before_mib)


def with_peak_memory(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, each with a note about the peak of all GPU memory in use since the previous row."""
    used_mib()
    for row in rows:
        _, most_mib = used_mib()
        peak = f"GPU memory in use at most {most_mib:.0f} MiB"
        yield replace(row, note="; ".join(filter(None, [row.note, peak]))) if most_mib else row


def used_mib() -> tuple[float, float]:
    """GPU memory in use now by everything, and its peak since the last call.

    The peak adds memory that torch has returned in between. TensorRT and ONNX Runtime keep their memory, so no thread
    has to poll it, which would disturb the times.
    """
    _settle()
    gc.collect()
    if not torch.cuda.is_available():
        return 0.0, 0.0
    reserved, most = torch.cuda.memory_reserved(), torch.cuda.max_memory_reserved()
    free, total = torch.cuda.mem_get_info()
    most_mib = (total - free + most - reserved) / 2**20
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20, most_mib


def _encoded(segmenter: Any) -> None:
    rgb, groundings = picture_with_prompts(CAMERA_WH)
    features = segmenter.encode(rgb)
    segmenter.decode(groundings) if features is None else segmenter.decode(features, groundings)


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()

"""What needs a GPU: SAM2.1 of every size by TensorRT and ONNX Runtime, and reasoners of the published shapes.

All weights are random, so nothing is downloaded; neither time nor memory depends on their values.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks import sam2_shapes
from benchmarks.random_reasoner import BY_NAME, Pointing, Shape, image_inputs, random_model, token_bytes
from benchmarks.results import Row, compared
from benchmarks.sam2_shapes import SIZE_PX, OfficialPredictor, picture_with_prompts
from benchmarks.segmenter_rows import CAMERA_WH, OBJECTS, OFFICIAL, decoder_rows, encoder_rows
from benchmarks.timing import Times, side_by_side
from reasonseg_ros.config import Config, SegmenterConfig
from reasonseg_ros.engine.tensorrt import FLAVOURS
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.decoding import FastDecoder
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.types import Frame, Query

NEW_TOKENS = 128
LEAST_SHARE = 60.0
EAGER = f"{OFFICIAL}, bfloat16"
QUESTION = "something to drive a nail in with"
T = TypeVar("T")


def engine_rows(cache: Path, repetitions: int) -> Iterator[Row]:
    """Encoder and decoder of every size at 1024 px: float16 by each runtime that is here, against torch."""
    for size in sam2_shapes.CONFIGS:
        shape = f"SAM2.1 {size} at {SIZE_PX} px"
        model = sam2_shapes.official_model(size)
        source = str(sam2_shapes.checkpoint(model, cache / f"sam2.1-{size}-random"))
        predictor, memory_mib = loaded(partial(OfficialPredictor, model, "cuda"), _encoded)
        yield Row(f"GPU memory, {shape}", EAGER, value=memory_mib, unit="MiB")
        segmenters: dict[str, Segmenter] = {}
        for runtime in ("onnxruntime", *(name for name in FLAVOURS if any(map(find_spec, FLAVOURS[name])))):
            told = f"{runtime} fp16"
            try:
                folder = str(sam2_shapes.exported(source, SIZE_PX, "fp16", cache))
                chosen = SegmenterConfig(model=folder, device="cuda", backend=runtime, refine="none")
                segmenters[told], memory_mib = loaded(partial(load_segmenter, chosen), _encoded)
            except ReasonSegError as error:
                yield Row(f"{shape}, {told}", "", EAGER, note=f"not measured: {error}")
                continue
            yield Row(f"GPU memory, {shape}", told, value=memory_mib, unit="MiB")
        yield from encoder_rows(predictor, segmenters, 4 * repetitions, {}, shape)
        for told, segmenter in segmenters.items():
            yield from decoder_rows(predictor, segmenter, 2 * repetitions, {1: None, OBJECTS: None}, f"{shape}, {told}")


def reasoner_rows(cache: Path, repetitions: int) -> Iterator[Row]:
    """Qwen2.5-VL of 3B and 7B in bfloat16, each with SAM2.1 large."""
    bandwidth = copy_bandwidth("cuda", 4 << 30)
    yield Row("memory bandwidth, copying 4 GiB", "read and written", value=bandwidth / 1e9, unit="GB/s")
    official = sam2_shapes.official_model("large")
    source = str(sam2_shapes.checkpoint(official, cache / "sam2.1-large-random"))
    folder = str(sam2_shapes.exported(source, SIZE_PX, "fp16", cache))
    runtime = next((name for name in FLAVOURS if any(map(find_spec, FLAVOURS[name]))), "onnxruntime")
    config = Config(segmenter=SegmenterConfig(model=folder, device="cuda", backend=runtime, refine="none"))
    predictor = OfficialPredictor(official, "cuda")
    segmenter = KeptFeatures(load_segmenter(config.segmenter))
    for shape in BY_NAME.values():
        model, memory_mib = loaded(partial(random_model, shape, "cuda", torch.bfloat16), lambda _: None)
        yield Row(f"GPU memory, weights of the shape of {shape.name}", "bfloat16", value=memory_mib, unit="MiB")
        yield from token_rows(shape, model, repetitions, bandwidth)
        reasoner = Pointing(shape, model, NEW_TOKENS)
        yield from question_rows(SegZero(reasoner, segmenter, config), predictor, repetitions)
        del model, reasoner


def token_rows(
    shape: Shape, model: Any, repetitions: int, bandwidth: float, new_tokens: int = NEW_TOKENS
) -> Iterator[Row]:
    """Reading a prompt with an image of 840 x 840, then tokens one by one; both against `generate`.

    `bandwidth` in bytes a second bounds the second: each token reads all weights and the keys and values so far.
    """
    inputs, decoder = image_inputs(shape, model), FastDecoder(model)
    prompt = inputs["input_ids"].shape[1]

    def plain(count: int) -> list[int]:
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=count, do_sample=False)
        return list(tokens[0, prompt:].tolist())

    def ours(count: int) -> list[int]:
        return list(decoder.decode(inputs, count, lambda _: True)[0])

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
        told: _each(times[f"{way} {new_tokens}"], times[f"{way} 1"], new_tokens - 1)
        for told, way in (("ours", "ours"), ("other", "plain"))
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
    """Of one of the `count` tokens after the first."""
    return Times(
        [(a - b) / count for a, b in zip(whole.wall_s, first.wall_s, strict=True)],
        [(a - b) / count for a, b in zip(whole.cpu_s, first.cpu_s, strict=True)],
    )


def question_rows(method: SegZero, predictor: OfficialPredictor, repetitions: int) -> Iterator[Row]:
    """From a 720p image and a question to one mask; the answer's text is as long as given, its box is made up."""
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
    for way, told in (("fresh", "a fresh frame"), ("prepared", "a frame that was prepared")):
        yield compared(
            f"question to mask, {told}, {reasoner.name}", f"`SegZero.answer`, {method.segmenter.name}",
            f"process, `generate`, set image, predict ({EAGER})", {"fresh": 1.3, "prepared": 2.5}[way],
            {"ours": times[way], "other": times["other"]}, note=f"answers of {reasoner.new_tokens} tokens",
        )  # fmt: skip


def copy_bandwidth(device: str, size_bytes: int, repetitions: int = 10) -> float:
    """Bytes a second that are read and written by copying one tensor to another, the best of several times."""
    source = torch.empty(size_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        _settle()

    times, _ = side_by_side({"copy": copy}, repetitions)
    return 2 * size_bytes / min(times["copy"].wall_s)


def loaded(make: Callable[[], T], use: Callable[[T], object]) -> tuple[T, float]:
    """What `make` gives, and how much GPU memory it holds after it was used once, MiB; whatever library took it."""
    before_mib = _used_mib()
    made = make()
    use(made)
    return made, _used_mib() - before_mib


def _encoded(segmenter: Any) -> None:
    rgb, groundings = picture_with_prompts(CAMERA_WH)
    features = segmenter.encode(rgb)
    segmenter.decode(groundings) if features is None else segmenter.decode(features, groundings)


def _used_mib() -> float:
    _settle()
    gc.collect()
    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return float(total - free) / 2**20


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()

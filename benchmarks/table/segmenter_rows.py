"""Image to features and prompts to masks, compared with the official SAM2 predictor on the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.results import Row, compared
from benchmarks.table import sam2_shapes
from benchmarks.table.sam2_shapes import SIZE_PX, OfficialPredictor, picture_with_prompts
from benchmarks.timing import Times, side_by_side
from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Segmenter

CAMERA_WH = (1280, 720)
OBJECTS = 8
OFFICIAL = "official `sam2` predictor, eager"
OBJECT_GMAC = 1.27
"""Multiplications of the exported decoder for an object with a box and 2 points (1.84 as the predictor computes it)."""
PRODUCT_SIZE = 2048
WHY_SHARE = (
    "Each object has its own attention to the image and its own mask to enlarge. Tried besides: eight bits for the "
    "whole decoder (masks fell from a mean IoU of 0.995 to 0.976) or for its enlarging alone (1.15x), and all objects "
    "in one batch (not faster than one by one)"
)


def rows(cache: Path, repetitions: int) -> Iterator[Row]:
    """The tiny shape at 1024 px on the CPU. Both sides have one thread per core."""
    model = sam2_shapes.official_model("tiny")
    source = str(sam2_shapes.checkpoint(model, cache / "sam2.1-tiny-random"))
    segmenters, refused = {}, {}
    for precision in ("fp32", "int8"):
        try:
            folder = sam2_shapes.exported(source, SIZE_PX, precision, cache)
            segmenters[precision] = load_segmenter(SegmenterConfig(model=str(folder), device="cpu", refine="none"))
        except ReasonSegError as error:
            refused[precision] = str(error)
    predictor = OfficialPredictor(model, "cpu")
    yield from encoder_rows(predictor, segmenters, repetitions, {"fp32": 1.2, "int8": 2.0})
    for precision, reason in refused.items():
        yield Row(f"image to features, {precision}", "exported graphs", OFFICIAL, note=f"not measured: {reason}")
    yield from decoder_rows(predictor, segmenters["fp32"], repetitions, {1: 2.4, OBJECTS: None, 2 * OBJECTS: None})
    yield from share_rows(predictor, segmenters["fp32"], repetitions)


def encoder_rows(
    predictor: OfficialPredictor, segmenters: Mapping[str, Segmenter], repetitions: int, aims: Mapping[str, float],
    shape: str = "SAM2.1-tiny at 1024 px",
) -> Iterator[Row]:  # fmt: skip
    """A row for each of `segmenters`, measured alternately."""
    rgb, groundings = picture_with_prompts(CAMERA_WH)
    ways: dict[str, Callable[[], object]] = {"other": partial(predictor.encode, rgb)}
    ways |= {name: partial(segmenter.encode, rgb) for name, segmenter in segmenters.items()}
    times, features = side_by_side(ways, repetitions)
    expected = predictor.decode(groundings)
    for name, segmenter in segmenters.items():
        found = [scored.mask for scored in segmenter.decode(features[name], groundings)]
        ious = [mask_iou(*pair) for pair in zip(found, expected, strict=True)]
        pair: dict[str, Times] = {"ours": times[name], "other": times["other"]}
        yield compared(
            f"image to features, {shape}, {name}", segmenter.name, OFFICIAL, aims.get(name), pair,
            note=f"mean IoU of the masks decoded from them with the predictor's: {np.mean(ious):.4f}",
        )  # fmt: skip


def decoder_rows(
    predictor: OfficialPredictor, segmenter: Segmenter, repetitions: int, aims: Mapping[int, float | None],
    shape: str = "SAM2.1-tiny at 1024 px",
) -> Iterator[Row]:  # fmt: skip
    """From one box and two points per object to masks of the camera image's size."""
    rgb, groundings = picture_with_prompts(CAMERA_WH)
    predictor.encode(rgb)
    features = segmenter.encode(rgb)
    for objects, aim in aims.items():
        chosen = (2 * groundings)[:objects]
        one, other = partial(segmenter.decode, features, chosen), partial(predictor.decode, chosen)
        times, _ = side_by_side({"other": other, "ours": one}, 3 * repetitions)
        what = "one object" if objects == 1 else f"{objects} objects"
        yield compared(
            f"box and 2 points to 720p masks, {what}, {shape}", f"{segmenter.name}, one call",
            f"{OFFICIAL}, one call an object", aim, times,
        )  # fmt: skip


def share_rows(predictor: OfficialPredictor, segmenter: Segmenter, repetitions: int) -> Iterator[Row]:
    """Multiplications per second as a share of those of one large matrix product in torch, measured alternately."""
    rgb, groundings = picture_with_prompts(CAMERA_WH)
    features = segmenter.encode(rgb)
    with FlopCounterMode(display=False) as counter:
        predictor.encode(rgb)
    gmac = {"encoder": counter.get_total_flops() / 2e9, "product": PRODUCT_SIZE**3 / 1e9}
    ways: dict[str, Callable[[], object]] = {
        "product": partial(torch.mm, *torch.rand(2, PRODUCT_SIZE, PRODUCT_SIZE)),
        "encoder": partial(segmenter.encode, rgb),
    }
    for objects in (OBJECTS, 2 * OBJECTS):
        gmac[f"{objects} objects"] = objects * OBJECT_GMAC
        ways[f"{objects} objects"] = partial(segmenter.decode, features, (2 * groundings)[:objects])
    times, _ = side_by_side(ways, 3 * repetitions)
    rates = {name: gmac[name] / found.median_s for name, found in times.items()}
    for name in ways:
        if name != "product":
            row = Row(
                f"share of the machine's matrix peak, {name}, SAM2.1-tiny at 1024 px, fp32", segmenter.name,
                value=100 * rates[name] / rates["product"], unit="% of the bound",
                aim=None if name == "encoder" else 70.0,
                note=f"{gmac[name]:.1f} GMAC at {rates[name]:.0f} GMAC/s; one product of {PRODUCT_SIZE} x "
                f"{PRODUCT_SIZE} matrices in float32, by torch on {torch.get_num_threads()} threads: "
                f"{rates['product']:.0f} GMAC/s",
                details={"gmac_per_s": rates, "gmac": gmac},
            )  # fmt: skip
            yield replace(row, note=f"{row.note}. {WHY_SHARE}") if row.is_met is False else row

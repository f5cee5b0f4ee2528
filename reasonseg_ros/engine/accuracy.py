"""Accuracy check of an engine against ONNX Runtime on the CPU in float32.

ONNX Runtime computes a float16 graph in float32 where it has no float16 kernel for the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.engine.manifest import POINTS, Manifest, Memory
from reasonseg_ros.engine.onnxruntime import load_onnxruntime
from reasonseg_ros.engine.port import Engine, Value, to_host
from reasonseg_ros.errors import ModelError
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.types import RgbImage

LEAST_MASK_IOU = 0.98
"""Minimum IoU of the masks of an engine and its reference, as the mean over the prompts."""
LEAST_SINGLE_IOU = 0.9
"""Minimum IoU of each mask."""
GREATEST_ERROR = 0.03
"""Maximum relative error of features and scores: RMS of the difference over RMS of the reference."""
OBJECTS = 8

_TINY = 1e-3  # for a reference near zero, the absolute difference is judged


class Reference:
    """The graphs of an export in ONNX Runtime on the CPU, with realistic inputs."""

    def __init__(self, folder: Path, manifest: Manifest, threads: int = 0) -> None:
        self._folder, self._manifest, self._threads = Path(folder), manifest, threads
        self.attended_at_once = manifest.attended_at_once

    def run(self, graph: str, inputs: Mapping[str, Value]) -> dict[str, NDArray[np.generic]]:
        """All outputs of one graph."""
        described = self._manifest.graphs[graph]
        engine = load_onnxruntime(self._folder / described.file, described, name=graph, threads=self._threads)
        return engine.run(inputs)

    def inputs(self, graph: str, objects: int) -> dict[str, Value]:
        """Inputs of a graph for this number of objects, the same on every call."""
        if graph == "encoder":
            return {"image": picture(self._manifest.size_px)[None]}
        if graph == "decoder":
            return self._prompts(objects)
        if graph == POINTS:
            return self._single_points(objects)
        masks, scores = (self._decoded[name].repeat(objects, 0) for name in ("masks", "object_score"))
        encoded = {"vision_feat": self._encoded["vision_feat"]}
        if graph == "memory_encoder":
            prompted = np.arange(objects, dtype=np.float32) % 2
            return encoded | {"masks": masks, "object_score": scores, "prompted": prompted}
        return encoded | self._memories(objects)

    @cached_property
    def _encoded(self) -> dict[str, NDArray[np.generic]]:
        return self.run("encoder", self.inputs("encoder", 1))

    @cached_property
    def _decoded(self) -> dict[str, NDArray[np.generic]]:
        return self.run("decoder", self.inputs("decoder", 1))

    def _prompts(self, objects: int) -> dict[str, Value]:
        boxes = picture_boxes_xyxy(self._manifest.size_px)[:objects]
        coords = np.concatenate([boxes.reshape(-1, 2, 2), np.zeros((len(boxes), 1, 2), np.float32)], axis=1)
        embed = self._encoded["image_embed"]
        return {
            "image_embed": np.repeat(embed, len(boxes), axis=0),
            "high_res_0": self._encoded["high_res_0"],
            "high_res_1": self._encoded["high_res_1"],
            "point_coords": coords,
            "point_labels": np.tile(np.array([2, 3, -1], np.int32), (len(boxes), 1)),
        }

    def _single_points(self, objects: int) -> dict[str, Value]:
        """The prompts with the centres of the boxes instead."""
        inputs = self._prompts(objects)
        centres = inputs["point_coords"][:, :2].mean(1, keepdims=True)
        count = len(centres)
        inputs["point_coords"] = np.concatenate([centres, np.zeros((count, 1, 2), np.float32)], axis=1)
        inputs["point_labels"] = np.tile(np.array([1, -1], np.int32), (count, 1))
        return inputs

    def _memories(self, objects: int) -> dict[str, Value]:
        """Inputs of memory attention: every second slot holds the memory of the picture's first object."""
        sizes = self._manifest.memory
        assert isinstance(sizes, Memory)
        memory = self.run("memory_encoder", self.inputs("memory_encoder", objects))["mem_feat"]
        pointer = self._decoded["object_pointer"]
        slots, frames_ago = np.arange(sizes.slots), np.arange(sizes.pointers)
        values: dict[str, Value] = {
            "mem_feat": np.repeat(memory[:, None], sizes.slots, axis=1),
            "mem_slot": np.tile(np.where(slots % 2 == 0, slots, -1), (objects, 1)).astype(np.int32),
            "obj_ptr": np.tile(pointer[:, None], (objects, sizes.pointers, 1)),
            "ptr_dt": np.tile(np.where(frames_ago % 2 == 0, frames_ago, -1), (objects, 1)).astype(np.float32),
        }
        return values


def check_engine(engine: Engine, graph: str, reference: Reference) -> dict[str, float]:
    """Run an engine and its reference on one object and on several, and compare all outputs.

    Returns the figures by name. Raises ModelError with the figures if the difference is too large.
    """
    figures: dict[str, float] = {}
    several = min(OBJECTS, engine.largest.get("N", OBJECTS))
    # Memory attention is slow and large on the CPU, and objects do not attend to each other.
    few = min(2, several, reference.attended_at_once)
    numbers = {"encoder": (1,), "memory_attention": (few,)}.get(graph, (1, several))
    for objects in numbers:
        inputs = reference.inputs(graph, objects)
        expected, found = reference.run(graph, inputs), engine.run(inputs)
        for name, value in expected.items():
            for figure, number in _compare(name, to_host(found[name]), value).items():
                worse = min if figure.endswith("iou") else max
                figures[figure] = worse(figures.get(figure, number), number)
    figures = {name: round(value, 5) for name, value in figures.items()}
    wrong = [
        f"{name} = {value}" for name, value in figures.items()
        if not (value >= _least(name) if name.endswith("iou") else value <= GREATEST_ERROR)
    ]  # fmt: skip
    if wrong:
        raise ModelError(
            f"the {graph} on {engine.runtime} is too far from ONNX Runtime in float32: {', '.join(wrong)} (allowed: "
            f"mask IoU {LEAST_MASK_IOU} and more in the mean, {LEAST_SINGLE_IOU} each, errors up to {GREATEST_ERROR}); "
            "export with --precision fp32, or set segmenter.backend to onnxruntime"
        )
    return figures


def _least(figure: str) -> float:
    return LEAST_MASK_IOU if figure == "mean_mask_iou" else LEAST_SINGLE_IOU


def _compare(name: str, found: NDArray[np.generic], expected: NDArray[np.generic]) -> dict[str, float]:
    if found.shape != expected.shape:
        raise ModelError(f"{name} has shape {found.shape}; expected {expected.shape}; build the engine again")
    a, b = found.astype(np.float64), expected.astype(np.float64)
    if name == "masks":
        ious = [mask_iou(one > 0, other > 0) for one, other in zip(a, b, strict=True)]
        return {"mean_mask_iou": float(np.mean(ious)), "least_mask_iou": min(ious)}
    error = float(np.sqrt(np.mean((a - b) ** 2)) / max(float(np.sqrt(np.mean(b**2))), _TINY))
    return {f"{name}_error": error if np.isfinite(error) else float("inf")}


def picture(size_px: int) -> RgbImage:
    """A synthetic scene, uint8 [size, size, 3]: blocks and balls on a shaded table."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float32) / size_px
    table = np.stack([150 + 50 * x, 120 + 40 * y, 90 + 30 * x * y], axis=-1)
    image = (table + rng.normal(0, 4, table.shape)).clip(0, 255).astype(np.uint8)
    for index, (x1, y1, x2, y2) in enumerate(picture_boxes_xyxy(size_px).round().astype(int).tolist()):
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        if index % 2:
            cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), colour, cv2.FILLED)
        else:
            centre, axes = ((x1 + x2) // 2, (y1 + y2) // 2), ((x2 - x1) // 2, (y2 - y1) // 2)
            cv2.ellipse(image, centre, axes, 0, 0, 360, colour, cv2.FILLED)
    blurred: RgbImage = cv2.GaussianBlur(image, (0, 0), max(size_px / 512, 0.5))
    return blurred


def picture_boxes_xyxy(size_px: int) -> NDArray[np.float32]:
    """Boxes of the objects in `picture`, float32 [8, 4], in its pixels."""
    unit = np.array(
        [
            [0.06, 0.08, 0.30, 0.34], [0.38, 0.05, 0.58, 0.30], [0.66, 0.10, 0.94, 0.36], [0.08, 0.42, 0.26, 0.66],
            [0.36, 0.40, 0.62, 0.64], [0.70, 0.44, 0.90, 0.62], [0.14, 0.72, 0.42, 0.94], [0.56, 0.70, 0.88, 0.92],
        ],
        np.float32,
    )  # fmt: skip
    return unit * size_px

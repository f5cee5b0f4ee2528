"""Checks that exported graphs give the masks of their checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from reasonseg_ros.engine.manifest import Manifest
from reasonseg_ros.engine.onnxruntime import load_onnxruntime
from reasonseg_ros.engine.port import Engine, Value
from reasonseg_ros.errors import ModelError
from reasonseg_ros.export.reference import look, track
from reasonseg_ros.export.scenes import OBJECTS, SampleScene, sample_scene
from reasonseg_ros.export.sources import Checkpoint
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.segmenter.exported import ExportedSegmenter, prompt_points
from reasonseg_ros.segmenter.sam2 import Sam2Segmenter
from reasonseg_ros.types import BoolMask, FloatArray

LEAST_IOU = {"fp32": 0.999, "fp16": 0.995, "int8": 0.97}
"""Minimum mean IoU over the prompts. The minimum over single masks is reported but not checked: for an ambiguous point,
rounding alone may select another of the three masks."""
SEEDS = (0, 1, 2)
LEAST_TRACKED = 2
"""Minimum objects tracked over two frames. All are tracked if they fit into memory at once. Otherwise, at this number
the check stops, as tracking takes longer than the rest at 1024 px, unless the checkpoint has lost all of them."""
_EMPTY_SHARE = 1e-3


def check_export(folder: Path, manifest: Manifest, checkpoint: Checkpoint) -> dict[str, float]:
    """Compare the graphs in `folder`, run by ONNX Runtime on the CPU, with the checkpoint run by torch.

    Returns the figures by name: mean and minimum IoU of masks, and the required mean. Masks are decoded one by one and
    eight at once; with memory, objects are also tracked over two more frames.

    Raises ModelError with the figures if a mean is below `LEAST_IOU`, or if all masks of the checkpoint are empty.
    """
    engines = {name: load_onnxruntime(folder / graph.file, graph, name=name) for name, graph in manifest.graphs.items()}
    exported = ExportedSegmenter(engines["encoder"], engines["decoder"], manifest, at_once=OBJECTS)
    original = Sam2Segmenter(checkpoint.model, multimask=manifest.multimask, name=manifest.name)
    masks: dict[str, list[tuple[BoolMask, BoolMask]]] = {"one_object": [], f"{OBJECTS}_objects": []}
    for item in (sample_scene(manifest.size_px, seed) for seed in SEEDS):
        expected = [scored.mask for scored in original.decode(original.encode(item.rgb), item.groundings)]
        features = exported.encode(item.rgb)
        alone = [exported.decode(features, [grounding])[0].mask for grounding in item.groundings]
        together = [scored.mask for scored in exported.decode(features, item.groundings)]
        masks["one_object"] += zip(expected, alone, strict=True)
        masks[f"{OBJECTS}_objects"] += zip(expected, together, strict=True)
    if manifest.memory:
        masks["tracked"] = _tracked(engines, manifest, checkpoint, sample_scene(manifest.size_px, SEEDS[0]))
    return _judge(masks, manifest.precision)


def _judge(masks: Mapping[str, Sequence[tuple[BoolMask, BoolMask]]], precision: str) -> dict[str, float]:
    least = LEAST_IOU[precision]
    figures = {"allowed_mean_iou": least}
    for name, pairs in masks.items():
        if not any(_EMPTY_SHARE < expected.mean() < 1 - _EMPTY_SHARE for expected, _ in pairs):
            raise ModelError(f"the checkpoint marks nothing, or everything, for {name}; is it a trained SAM2?")
        ious = [mask_iou(*pair) for pair in pairs]
        figures[f"{name}_mean_iou"] = round(float(np.mean(ious)), 5)
        figures[f"{name}_least_iou"] = round(min(ious), 5)
    if any(figures[f"{name}_mean_iou"] < least for name in masks):
        measured = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in list(figures.items())[1:])
        raise ModelError(
            f"the {precision} export does not give the checkpoint's masks: {measured}; each mean has to be {least} or "
            "more, so nothing was kept. Choose another --precision; if fp32 is refused, report it with these figures"
        )
    return figures


def _tracked(
    engines: Mapping[str, Engine], manifest: Manifest, checkpoint: Checkpoint, item: SampleScene
) -> list[tuple[BoolMask, BoolMask]]:
    """Masks of the second and third frame by the checkpoint, and by the graphs, in batches that fit in memory."""
    frames, size_wh = (item.rgb, item.next_rgb, item.rgb), (manifest.size_px, manifest.size_px)
    coords, labels = prompt_points(item.groundings, size_wh, manifest.size_px)
    seen = [look(checkpoint.model, frame) for frame in frames]
    encoded = [engines["encoder"].run({"image": frame[None]}) for frame in frames]
    pairs: list[tuple[BoolMask, BoolMask]] = []
    for first in range(0, OBJECTS, manifest.attended_at_once):
        rows = slice(first, first + manifest.attended_at_once)
        found = _track_by_graphs(engines, manifest, encoded, coords[rows], labels[rows])
        for points, kinds, masks in zip(coords[rows], labels[rows], found, strict=True):
            real = kinds >= 0
            logits = track(checkpoint.model, seen, points[real], kinds[real].tolist(), manifest.multimask)
            pairs += zip(logits[1:] > 0, masks[1:], strict=True)
        if rows.stop >= LEAST_TRACKED and any(expected.mean() > _EMPTY_SHARE for expected, _ in pairs):
            break
    return pairs


def _track_by_graphs(
    engines: Mapping[str, Engine],
    manifest: Manifest,
    encoded: Sequence[Mapping[str, Value]],
    coords: FloatArray,
    labels: np.ndarray,
) -> BoolMask:
    """Masks bool [N, frames, S/4, S/4] of N objects that are prompted on the first of the encoded frames."""
    assert manifest.memory is not None
    count, memory, side = len(labels), manifest.memory, manifest.size_px // 16
    state = {
        "mem_feat": np.zeros((count, memory.slots, side * side, memory.channels), np.float32),
        "mem_slot": np.full((count, memory.slots), -1, np.int32),
        "obj_ptr": np.zeros((count, memory.pointers, manifest.channels), np.float32),
        "ptr_dt": np.full((count, memory.pointers), -1, np.float32),
    }
    found = []
    for time, features in enumerate(encoded):
        vision = {"vision_feat": features["vision_feat"]}
        fine = {name: features[name] for name in ("high_res_0", "high_res_1")}
        if time == 0:
            embed = features["image_embed"].repeat(count, axis=0)
        else:
            embed = engines["memory_attention"].run(vision | state)["image_embed"]
            # A frame without a prompt has two padding points: one as its prompt, and the one that SAM2 always adds.
            coords, labels = np.zeros((count, 2, 2), np.float32), np.full((count, 2), -1, np.int32)
        prompt = {"image_embed": embed, "point_coords": coords, "point_labels": labels}
        decoded = engines["decoder"].run(fine | prompt)
        found.append((decoded["masks"][:, 0] > 0) & (decoded["object_score"][:, :, None] > 0))
        drawn = {name: decoded[name] for name in ("masks", "object_score")}
        prompted = {"prompted": np.full(count, time == 0, np.float32)}
        state["mem_feat"][:, time] = engines["memory_encoder"].run(vision | drawn | prompted)["mem_feat"]
        state["obj_ptr"][:, time] = decoded["object_pointer"]
        # The prompted frame has the last temporal encoding. Other frames count back from the current one.
        state["mem_slot"][:, time] = 0 if time else memory.slots - 1
        state["ptr_dt"][:, : time + 1] = np.arange(time + 1, 0, -1)
    return np.stack(found, axis=1)

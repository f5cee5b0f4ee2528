"""SAM2's image part through transformers: the published SAM2 and SAM2.1 checkpoints, and the embedded small one.

Source: Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024. Prompts follow Seg-Zero: the box first (its
corners are two points labelled 2 and 3), then the points; masks are cut at logit 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import Sam2Config, Sam2Model

from reasonseg_ros.engine.port import check_finite
from reasonseg_ros.errors import ModelError, OutOfMemory
from reasonseg_ros.files.model_formats import other_format
from reasonseg_ros.geometry import resize_logits, scale_xy, squash
from reasonseg_ros.segmenter.port import Features, LowResMasks, ScoredMask, single_points
from reasonseg_ros.types import FloatArray, Grounding, RgbImage
from reasonseg_ros.weights import check_weights

IMAGE_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGE_STD = np.array([0.229, 0.224, 0.225], np.float32)
MOST_AT_ONCE = 64
"""Prompts in one batch of the decoder."""
MODEL_TYPES = ("sam2", "sam2_video")  # the published checkpoints include the video tracker's weights


def load_sam2(
    source: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    offline: bool = False,
    revision: str = "main",
    size_px: int = 0,
) -> Sam2Model:
    """A SAM2 image model from a folder or a hub id, safetensors only.

    `size_px` is the side of the square that images are squashed to, a multiple of 32; 0 takes the checkpoint's own.

    Raises ModelError if it is missing, damaged, or not a SAM2 checkpoint; OutOfMemory if the device is too small.
    """
    remedy = "check the name, the network and the setting segmenter.offline, or give a folder that holds the checkpoint"
    if Path(source).is_absolute():
        if not Path(source).is_dir():
            raise ModelError(f"{source} is not there; put a SAM2 checkpoint there, or name another in segmenter.model")
        if stated := other_format(Path(source)):
            raise ModelError(f"{source} is no SAM2 checkpoint that can be loaded: {stated}")
        remedy = "copy or download the folder again; it needs config.json and model.safetensors"
    try:
        where = {"local_files_only": offline, "revision": revision}
        values, _ = Sam2Config.get_config_dict(source, **where)
        if values.get("model_type") not in MODEL_TYPES:
            raise ModelError(
                f"{source} holds a model of type {values.get('model_type')!r}; expected a SAM2 checkpoint, or the "
                "folder that `reasonseg export segmenter` makes of one or of EdgeTAM"
            )
        config = Sam2Config.from_dict(values)
        if size_px:
            set_image_size(config, size_px)
        with _memory_errors(device):
            model, report = Sam2Model.from_pretrained(
                source, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **where
            )
            model = model.eval().requires_grad_(False).to(device)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"no SAM2 checkpoint could be read from {source}: {error}; {remedy}") from error
    try:
        check_weights(model, report, source, revision)
    except ModelError as error:
        raise ModelError(f"{source} is no usable SAM2 checkpoint: {error}") from error
    # Coordinates need more digits than half precision has: in bfloat16 a box would be off by some pixels.
    model.prompt_encoder.float()
    model.shared_image_embedding.float()
    return model


def set_image_size(config: Sam2Config, size_px: int) -> None:
    """Set the size of square images everywhere in `config`; the weights do not depend on it.

    Raises ModelError if the windows of the encoder would not fit.
    """
    if size_px % 32:
        raise ModelError(f"image_size = {size_px}; expected a multiple of 32")
    config.prompt_encoder_config.image_size = size_px
    config.vision_config.backbone_config.image_size = [size_px, size_px]
    config.vision_config.backbone_feature_sizes = [[size_px // stride] * 2 for stride in (4, 8, 16)]


class Sam2Segmenter:
    """Masks from boxes and points.

    `multimask` takes the best of the three masks by predicted IoU, as Seg-Zero does with the published checkpoints;
    without it the single-mask output is used, the only one that the embedded checkpoint is trained for.
    """

    def __init__(self, model: Sam2Model, *, multimask: bool, name: str, needs_boxes: bool = False) -> None:
        self.name = name
        self.needs_boxes = needs_boxes
        self.model = model
        self.multimask = multimask
        self.size_px = int(model.config.prompt_encoder_config.image_size)
        self._positions = model.get_image_wide_positional_embeddings().to(model.dtype)

    @torch.inference_mode()
    def encode(self, rgb: RgbImage) -> Features:
        """Features of uint8 [H, W, 3], squashed to the model's square. Raises OutOfMemory and ModelError."""
        with _memory_errors(self.model.device):
            pixels = torch.from_numpy(preprocess(rgb, self.size_px)[None]).to(self.model.device, self.model.dtype)
            maps = self.model.get_image_embeddings(pixels)
            check_finite("image encoder", {f"feature map {index}": value for index, value in enumerate(maps)})
            return Features(maps, (rgb.shape[1], rgb.shape[0]))

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        """One mask for each grounding. Equal kinds of prompts share a batch. Raises OutOfMemory and ModelError."""
        found = self.decode_low_res(features, groundings)
        return [
            ScoredMask(resize_logits(logits, features.size_wh), float(score))
            for logits, score in zip(found.logits, found.scores, strict=True)
        ]

    @torch.inference_mode()
    def decode_low_res(self, features: Features, groundings: Sequence[Grounding]) -> LowResMasks:
        # Padding a prompt with ignored points changes its mask in SAM2, so only prompts of equal kind share a batch.
        batches: dict[tuple[int, bool], list[int]] = {}
        for index, grounding in enumerate(groundings):
            batches.setdefault((len(grounding.points_xy), grounding.has_box), []).append(index)
        side = self.size_px // 4
        logits, scores = np.zeros((len(groundings), side, side), np.float32), np.zeros(len(groundings), np.float32)
        with _memory_errors(self.model.device):
            for indices in batches.values():
                for start in range(0, len(indices), MOST_AT_ONCE):
                    rows = indices[start : start + MOST_AT_ONCE]
                    logits[rows], scores[rows] = self._decode_batch(features, [groundings[row] for row in rows])
        return LowResMasks(logits, scores)

    def decode_points(self, features: Features, points_xy: FloatArray) -> LowResMasks:
        if self.needs_boxes:
            raise ModelError(f"{self.name} was trained with boxes; single points need its export, with a graph for "
                             "points: set segmenter.backend to auto")  # fmt: skip
        found: LowResMasks = self.decode_low_res(features, single_points(points_xy))
        return found

    def feature_map(self, features: Features) -> FloatArray:
        coarsest: FloatArray = features.data[-1][0].permute(1, 2, 0).float().cpu().numpy()
        return coarsest

    def _decode_batch(self, features: Features, groundings: list[Grounding]) -> tuple[FloatArray, FloatArray]:
        model, square_wh = self.model, (self.size_px, self.size_px)
        boxes = np.stack([scale_xy(g.box_xyxy, features.size_wh, square_wh) for g in groundings])
        points = np.stack([scale_xy(g.points_xy, features.size_wh, square_wh) for g in groundings])
        labels = np.stack([np.asarray(g.point_labels) for g in groundings])
        has_points = points.shape[1] > 0
        sparse, dense = model.prompt_encoder(
            input_points=torch.from_numpy(points[None]).to(model.device) if has_points else None,
            input_labels=torch.from_numpy(labels[None]).to(model.device) if has_points else None,
            input_boxes=torch.from_numpy(boxes[None]).to(model.device) if groundings[0].has_box else None,
            input_masks=None,
        )
        logits, scores, _, _ = model.mask_decoder(
            image_embeddings=features.data[-1],
            image_positional_embeddings=self._positions,
            sparse_prompt_embeddings=sparse.to(model.dtype),
            dense_prompt_embeddings=dense.to(model.dtype),
            multimask_output=self.multimask,
            high_resolution_features=features.data[:-1],
        )
        check_finite("mask decoder", {"the mask logits": logits, "the predicted IoU": scores})
        best = scores[0].argmax(-1)
        rows = torch.arange(len(groundings), device=model.device)
        chosen, predicted = logits[0, rows, best].float(), scores[0, rows, best].float().clamp(0, 1)
        return chosen.cpu().numpy(), predicted.cpu().numpy()


def preprocess(rgb: RgbImage, size_px: int) -> FloatArray:
    """float32 [3, size, size], normalised: the whole image squashed to the model's square, as SAM2 was trained."""
    pixels = (squash(rgb, size_px).astype(np.float32) / 255.0 - IMAGE_MEAN) / IMAGE_STD
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


@contextmanager
def _memory_errors(device: torch.device) -> Iterator[None]:
    """Converts out-of-memory errors of GPU and CPU to OutOfMemory."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # The CPU's allocator has no error class for this.
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "can't allocate memory" not in str(error):
            raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        raise OutOfMemory(
            f"the segmenter ran out of memory on {device}; use a smaller checkpoint, fewer targets, or dtype bfloat16"
        ) from error

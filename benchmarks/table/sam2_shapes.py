"""SAM2.1 in its published shapes with random weights: as the official package runs it, and exported.

Random weights take as long as trained ones, because no operation of SAM2 depends on their values.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from transformers import Sam2Config, Sam2Model

from reasonseg_ros import export
from reasonseg_ros.engine.accuracy import picture, picture_boxes_xyxy
from reasonseg_ros.export.official import config_of, transformers_weights
from reasonseg_ros.export.segmenter import LIBRARIES, export_segmenter
from reasonseg_ros.geometry import scale_xy
from reasonseg_ros.model_card import load_card
from reasonseg_ros.types import BoolMask, Grounding, RgbImage

CONFIGS = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
SIZE_PX = 1024


def official_model(size: str, changes: tuple[str, ...] = ()) -> Any:
    """The official package's model, float32 on the CPU; `changes` are hydra's overrides of its configuration."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package and of hydra
        from sam2.build_sam import build_sam2

        torch.manual_seed(0)
        config = f"configs/sam2.1/sam2.1_hiera_{CONFIGS[size]}.yaml"
        model = build_sam2(config, device="cpu", hydra_overrides_extra=list(changes))
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape)
            # Activations stay in range however deep the model is, and masks get edges.
            weight.copy_(noise / weight[0].numel() ** 0.5) if weight.ndim > 1 else weight.add_(0.1 * noise)
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)  # the target is always visible
    return model.eval().requires_grad_(False)


class OfficialPredictor:
    """The official `SAM2ImagePredictor`, one call per object, the best of three masks; bfloat16 on a GPU."""

    def __init__(self, model: Any, device: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the package about itself
            from sam2.sam2_image_predictor import SAM2ImagePredictor

            self._predictor = SAM2ImagePredictor(model.to(device))
        self._predictor._bb_feat_sizes = [(model.image_size // stride,) * 2 for stride in (4, 8, 16)]
        self._device = torch.device(device)

    def encode(self, rgb: RgbImage) -> None:
        with self._half():
            self._predictor.set_image(rgb)
        self._wait()

    def decode(self, groundings: list[Grounding]) -> list[BoolMask]:
        masks = []
        for grounding in groundings:
            with self._half():
                found, scores, _ = self._predictor.predict(
                    point_coords=grounding.points_xy, point_labels=grounding.point_labels, box=grounding.box_xyxy
                )
            masks.append(found[np.argmax(scores)] > 0)
        self._wait()
        return masks

    def _half(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda")

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def checkpoint(model: Any, folder: Path) -> Path:
    """The image part of an official model as a transformers folder, for images of the model's size."""
    state = transformers_weights(model.state_dict())
    video = config_of(state, model.image_size)
    image = Sam2Model(
        Sam2Config(
            vision_config=video.vision_config,
            prompt_encoder_config=video.prompt_encoder_config,
            mask_decoder_config=video.mask_decoder_config,
        )
    )
    image.load_state_dict({name: state[name] for name in image.state_dict()})
    image.save_pretrained(folder)
    return folder


def exported(source: str, size_px: int, precision: str, cache: Path) -> Path:
    """The folder of a local checkpoint's export, made only if it is not in `cache` yet.

    Raises ModelError if the export's check refuses it.
    """
    digest = hashlib.sha256(repr([version(name) for name in LIBRARIES]).encode())
    weights = Path(load_card(source, "segmenter").source) / "model.safetensors"
    for path in (*sorted(Path(export.__file__).parent.glob("*.py")), weights):
        digest.update(path.read_bytes())
    folder = cache / f"{Path(source).name}-{size_px}-{precision}-{digest.hexdigest()[:12]}"
    if not folder.is_dir():
        for old in cache.glob(f"{Path(source).name}-{size_px}-{precision}-*"):
            shutil.rmtree(old)
        export_segmenter(source, folder, size_px=size_px, precision=precision)
    return folder


def picture_with_prompts(size_wh: tuple[int, int]) -> tuple[RgbImage, list[Grounding]]:
    """A made-up image of eight objects, and for each a box and two points inside it."""
    side_px = max(size_wh)
    boxes = scale_xy(picture_boxes_xyxy(side_px).reshape(-1, 2), (side_px, side_px), size_wh).reshape(-1, 4)
    groundings = [Grounding(box, np.linspace(box[:2], box[2:], 4)[1:3]) for box in boxes]
    return cv2.resize(picture(side_px), size_wh), groundings

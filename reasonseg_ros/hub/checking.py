"""Checks with a picture of known content whether a checkpoint works on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reasonseg_ros.config import Config
from reasonseg_ros.geometry import box_iou, mask_box
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.reasoner.known_picture import (
    NO_PICTURE,
    PictureResult,
    Target,
    check_configured,
    drawn_picture,
    read_known_picture,
)
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.types import BoolMask, Grounding

LEAST_BOX_IOU = 0.7
"""Minimum IoU of a mask's tight box with the box that prompted it."""


def check_model(name: str, kind: str, config: Config) -> PictureResult:
    """Load the checkpoint with `config`, and ask it about its known picture. Raises ModelError, ConfigError."""
    if kind == "reasoner":
        settings = replace(config.reasoner, model=name)
        return check_configured(load_reasoner(settings), settings)
    return check_segmenter(load_segmenter(replace(config.segmenter, model=name)), load_card(name, kind))


def check_segmenter(segmenter: Segmenter, card: ModelCard) -> PictureResult:
    """Prompt with the boxes of the known targets. Each mask has to fill its box."""
    if card.known_picture == NO_PICTURE:
        return PictureResult("skipped", f"not checked: the model card {card.name} has no known picture")
    rgb, targets = read_known_picture(Path(card.known_picture)) if card.known_picture else drawn_picture()
    masks = segmenter.decode(segmenter.encode(rgb), [Grounding(target.box_xyxy) for target in targets])
    ious = [_agreement(target, mask.mask) for target, mask in zip(targets, masks, strict=True)]
    stated = "; ".join(f"{target.question}: IoU {iou:.2f}" for target, iou in zip(targets, ious, strict=True))
    if min(ious) >= LEAST_BOX_IOU:
        return PictureResult("right", f"the masks of {len(ious)} known boxes fill them ({stated})")
    wrong = sum(iou < LEAST_BOX_IOU for iou in ious)
    remedy = f"expected {LEAST_BOX_IOU} or more; check the checkpoint, its precision and its model card"
    return PictureResult("wrong", f"{wrong} of {len(ious)} masks do not fill their boxes ({stated}); {remedy}")


def _agreement(target: Target, mask: BoolMask) -> float:
    box = mask_box(mask)
    return 0.0 if box is None else box_iou(box, target.box_xyxy)

"""The segmenter that a configuration asks for."""

from __future__ import annotations

from reasonseg_ros.config import SegmenterConfig
from reasonseg_ros.errors import ModelError
from reasonseg_ros.model_card import load_card
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.segmenter.refinement import STEPS, RefinedSegmenter


def load_segmenter(config: SegmenterConfig) -> Segmenter:
    """Raises ModelError where the checkpoint is missing, damaged or of another kind, or a package is not installed.

    Raises ConfigError for a device that is not there.
    """
    card = load_card(config.model, "segmenter")
    try:
        # Imported late, so that a missing checkpoint is said at once and not after seconds of importing.
        from reasonseg_ros.segmenter.sam2 import Sam2Segmenter, load_sam2
        from reasonseg_ros.torch_device import choose_device, choose_dtype
    except ImportError as error:
        raise ModelError(f"{error}; install torch and transformers") from error
    device = choose_device(config.device)
    model = load_sam2(
        card.source,
        device=device,
        dtype=choose_dtype(config.dtype, device),
        offline=config.offline,
        revision=card.revision,
        size_px=card.image_size,
    )
    segmenter = Sam2Segmenter(model, multimask=card.multimask, name=card.name)
    refine = card.refine if config.refine == "auto" else config.refine
    if refine == "none":
        return segmenter
    return RefinedSegmenter(segmenter, tuple(STEPS) if refine == "both" else (refine,))

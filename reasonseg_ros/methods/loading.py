"""The method that a configuration asks for, with its models loaded."""

from __future__ import annotations

from reasonseg_ros.config import Config
from reasonseg_ros.engine.port import Report
from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter

METHODS = ("seg_zero", "rev_seg")


def load_method(config: Config, report: Report | None = None, name: str = "seg_zero") -> SegZero:
    """The method of that name, one of METHODS. `report` hears of what takes long, as building engines does.

    Raises ModelError where a checkpoint is missing, damaged or of another kind.
    """
    # The segmenter first: its engines are built while the memory is free, which a Jetson's CPU and GPU share.
    segmenter = KeptFeatures(load_segmenter(config.segmenter, report), config.segmenter.kept_frames)
    reasoner = load_reasoner(config.reasoner)
    if name == "seg_zero":
        return SegZero(reasoner, segmenter, config)
    from reasonseg_ros.methods.tracking import load_tracker

    return RevSeg(reasoner, segmenter, config, load_tracker(config, segmenter))

"""The method that a configuration asks for, with its models loaded."""

from __future__ import annotations

from collections.abc import Callable

from reasonseg_ros.config import Config
from reasonseg_ros.engine.port import Report
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.methods.settings import check_settings, naming_parameters
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Segmenter


def load_method(config: Config, report: Report | None = None) -> Method:
    """The method `config.method`. `report` hears of what takes long, as building engines does.

    Raises ConfigError or ModelError, with the parameter's name, where a setting cannot be used, and ModelError where a
    checkpoint is damaged.
    """
    check_settings(config)
    # The segmenter first: its engines are built while the memory is free, which a Jetson's CPU and GPU share.
    with naming_parameters("segmenter"):
        segmenter = KeptFeatures(load_segmenter(config.segmenter, report), config.segmenter.kept_frames)
    with naming_parameters("reasoner"):
        reasoner = load_reasoner(config.reasoner)
    return METHODS[config.method](reasoner, segmenter, config)


def _rev_seg(reasoner: Reasoner, segmenter: Segmenter, config: Config) -> Method:
    from reasonseg_ros.methods.tracking import load_tracker

    return RevSeg(SegZero(reasoner, segmenter, config), load_tracker(config, segmenter))


METHODS: dict[str, Callable[[Reasoner, Segmenter, Config], Method]] = {"seg_zero": SegZero, "rev_seg": _rev_seg}
"""What builds each method of the parameter `method`, whose choices are `config.METHOD_NAMES`."""

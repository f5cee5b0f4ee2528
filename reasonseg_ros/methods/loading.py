"""The method that a configuration asks for, with its models loaded."""

from __future__ import annotations

from reasonseg_ros.config import Config
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.segmenter.loading import load_segmenter


def load_method(config: Config) -> SegZero:
    """Raises ModelError where a checkpoint is missing, damaged or of another kind."""
    return SegZero(load_reasoner(config.reasoner), load_segmenter(config.segmenter), config)

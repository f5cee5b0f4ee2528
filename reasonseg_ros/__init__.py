"""Reasoning segmentation for ROS 2: camera images and a question in, masks, boxes and the reason out.

The names in `__all__` are the public Python interface. They are imported on first use, so `import reasonseg_ros` loads
neither torch nor ROS.
"""

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

# The generated messages (`reasonseg_ros.msg`) may lie in another folder than the sources, for example when pytest
# runs in the repository: both folders together are this package.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"

if TYPE_CHECKING:
    from reasonseg_ros.bags import BagReader, BagWriter
    from reasonseg_ros.config import Config, config_from
    from reasonseg_ros.errors import ReasonSegError
    from reasonseg_ros.evaluation.bag_messages import read_clips
    from reasonseg_ros.evaluation.run import evaluate
    from reasonseg_ros.evaluation.scoring.judging import Scoring
    from reasonseg_ros.methods.loading import load_method
    from reasonseg_ros.methods.port import Method
    from reasonseg_ros.methods.seg_zero import SegZero
    from reasonseg_ros.methods.wrapped import WrappedMethod
    from reasonseg_ros.reasoner.call import WAIT, Call
    from reasonseg_ros.reasoner.loading import load_reasoner
    from reasonseg_ros.reasoner.port import Reasoner
    from reasonseg_ros.segmenter.loading import load_segmenter
    from reasonseg_ros.segmenter.port import Segmenter, Tracker
    from reasonseg_ros.settings import Settings
    from reasonseg_ros.types import Answer, Frame, Grounding, Mode, Query, Region, Segmentation, Status

_MODULES = {
    "bags": ("BagReader", "BagWriter"),
    "config": ("Config", "config_from"),
    "errors": ("ReasonSegError",),
    "evaluation.bag_messages": ("read_clips",),
    "evaluation.run": ("evaluate",),
    "evaluation.scoring.judging": ("Scoring",),
    "methods.loading": ("load_method",),
    "methods.port": ("Method",),
    "methods.seg_zero": ("SegZero",),
    "methods.wrapped": ("WrappedMethod",),
    "reasoner.call": ("WAIT", "Call"),
    "reasoner.loading": ("load_reasoner",),
    "reasoner.port": ("Reasoner",),
    "segmenter.loading": ("load_segmenter",),
    "segmenter.port": ("Segmenter", "Tracker"),
    "settings": ("Settings",),
    "types": ("Answer", "Frame", "Grounding", "Mode", "Query", "Region", "Segmentation", "Status"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "WAIT",
    "Answer",
    "BagReader",
    "BagWriter",
    "Call",
    "Config",
    "Frame",
    "Grounding",
    "Method",
    "Mode",
    "Query",
    "ReasonSegError",
    "Reasoner",
    "Region",
    "Scoring",
    "SegZero",
    "Segmentation",
    "Segmenter",
    "Settings",
    "Status",
    "Tracker",
    "WrappedMethod",
    "config_from",
    "evaluate",
    "load_method",
    "load_reasoner",
    "load_segmenter",
    "read_clips",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

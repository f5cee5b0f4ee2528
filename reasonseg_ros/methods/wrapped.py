"""A base for methods that change the behaviour of another method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reasonseg_ros.methods.port import Method
from reasonseg_ros.types import Frame, Grounding, Segmentation


class WrappedMethod(Method):
    """Has the models and settings of `inner`, and prompts and prepares like it. Subclasses define `answer`."""

    def __init__(self, inner: Method) -> None:
        self.inner = inner
        self.reasoner = inner.reasoner
        self.segmenter = inner.segmenter
        self.settings = inner.settings
        self.make_tracker = inner.make_tracker

    def prompt(self, frame: Frame, groundings: Sequence[Grounding]) -> Segmentation:
        return self.inner.prompt(frame, groundings)

    def prepare(self, frame: Frame, is_wanted: Callable[[], bool] = lambda: True) -> None:
        self.inner.prepare(frame, is_wanted)

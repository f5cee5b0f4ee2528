"""Stops a prefill between two layers: that of a large model takes minutes on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from reasonseg_ros.types import Status

Stop = Callable[[], None]


class InterruptedPrefill(Exception):
    """A limit stopped the prefill. It leaves no state behind: each prompt has a new cache."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


@contextmanager
def interruptible(model: Any, broken: Callable[[], Status | None]) -> Iterator[Stop]:
    """Within this context, a layer of `model` raises InterruptedPrefill instead of running if `broken` gives a status.

    Layers are the modules in module lists: those of the language model and the blocks of the image encoder. On a GPU
    they are queued ahead of their execution, which is not interrupted. The yielded function ends it early, which
    decoding does at its first token.
    """

    def check(module: Any, args: Any) -> None:
        if status := broken():
            raise InterruptedPrefill(status)

    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    handles = [layer.register_forward_pre_hook(check) for layers in lists for layer in layers]

    def stop() -> None:
        while handles:
            handles.pop().remove()

    try:
        yield stop
    finally:
        stop()

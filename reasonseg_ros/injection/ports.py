"""The methods that implement each port. They are wrapped while an injector is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from reasonseg_ros.injection.fault import Injector
from reasonseg_ros.injection.files import FILE_PORTS, broken_files

_SEGMENTERS = (
    ".segmenter.exported:ExportedSegmenter",
    ".segmenter.sam2:Sam2Segmenter",
    ".segmenter.scripted:ScriptedSegmenter",
)
_TRACKERS = (
    ".segmenter.tracker:MemoryTracker",
    ".segmenter.reprompting:RepromptTracker",
    ".segmenter.scripted:ScriptedTracker",
)
METHODS: dict[str, tuple[str, ...]] = {
    "engine_run": (
        "onnxruntime:InferenceSession.run",
        "onnxruntime:InferenceSession.run_with_iobinding",
        ".engine.tensorrt:TensorRtEngine.run",
    ),
    "token": (".reasoner.limits:Limits.broken",),
    "encode": tuple(f"{name}.encode" for name in _SEGMENTERS),
    "decode": tuple(f"{name}.decode" for name in _SEGMENTERS),
    "tracker_step": tuple(f"{name}.step" for name in _TRACKERS),
    "transform": (".ros.inputs.transforms:Transforms.camera_pose",),
    "publish": ("rclpy.lifecycle.publisher:LifecyclePublisher.publish",),
}
"""The methods of each port, as `module:Class.method`. A leading dot stands for this package."""


@contextmanager
def installed(injector: Injector, folder: Path | None = None) -> Iterator[Injector]:
    """Count the calls of the fault's port, or of all ports without a fault, until the `with` statement ends.

    File ports count files that are written below `folder`, or anywhere without one. A class whose module cannot be
    imported, for example without torch, is not in use and is left out.
    """
    wanted = [*METHODS, *FILE_PORTS] if injector.fault is None else [injector.fault.port]
    with ExitStack() as stack:
        for port in wanted:
            for target in METHODS.get(port, ()):
                stack.enter_context(_replaced(injector, port, target))
        if files := [port for port in wanted if port in FILE_PORTS]:
            stack.enter_context(broken_files(injector, files, folder))
        try:
            yield injector
        finally:
            injector.release()


@contextmanager
def _replaced(injector: Injector, port: str, target: str) -> Iterator[None]:
    module_name, _, path = target.partition(":")
    class_name, _, method = path.partition(".")
    try:
        owner = getattr(import_module(module_name, "reasonseg_ros"), class_name)
    except ImportError:
        yield
        return
    is_inherited = method not in vars(owner)
    original: Callable[..., Any] = getattr(owner, method)
    setattr(owner, method, injector.wrap(port, original))
    try:
        yield
    finally:
        if is_inherited:
            delattr(owner, method)
        else:
            setattr(owner, method, original)

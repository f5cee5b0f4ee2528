"""Runs graphs with TensorRT (10 and 11) or TensorRT for RTX, through the same code.

This is the only file that imports tensorrt or tensorrt_rtx. Building is in `tensorrt_builder`.
"""

from __future__ import annotations

import importlib
import logging
import re
import threading
from collections.abc import Collection, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from reasonseg_ros.engine.device_memory import DeviceMemory
from reasonseg_ros.engine.files import replace_file
from reasonseg_ros.engine.manifest import Graph
from reasonseg_ros.engine.port import Value, by_name, check_inputs, free_sizes, shape_of
from reasonseg_ros.errors import ModelError, OutOfMemory

FLAVOURS = {
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
"""Kinds of TensorRT, with the modules of their Python interface."""

_INSTALL = {
    "tensorrt": "on a Jetson it comes with JetPack (python3-libnvinfer), elsewhere with `pip install tensorrt`",
    "tensorrt_rtx": "run `pip install --no-deps tensorrt_rtx_cu13_libs tensorrt_rtx_cu13_bindings`",
}
_log = logging.getLogger(__name__)


class StaleEngine(ModelError):
    """An engine that this TensorRT cannot load, so it has to be built again."""


def library(flavour: str) -> Any:
    """The Python module of a flavour. Raises ModelError with the way to install it."""
    reasons = []
    for name in FLAVOURS[flavour]:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: the module's libraries are missing
            reasons.append(str(error))
    raise ModelError(f"{flavour} is not installed ({'; '.join(reasons)}): {_INSTALL[flavour]}")


def cuda_major(flavour: str) -> str:
    """The major CUDA version of a flavour's installed wheel, for example `13`; empty if its name has none."""
    found = packages_distributions()
    names = [name for module in FLAVOURS[flavour] for name in found.get(module, ())]
    match = re.search(r"cu(?:da)?(\d+)", " ".join(names))
    return match[1] if match else ""


def logger(trt: Any) -> Any:
    """A logger that forwards to Python's and collects errors in `.errors`, because TensorRT raises none itself."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            _log.debug(message)
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)

    return Logger()


class TensorRtEngine:
    """A built engine on a GPU, on a separate stream.

    Each call waits for the GPU, so its outputs can be used on any stream.
    """

    def __init__(
        self,
        plan: bytes,
        graph: Graph,
        *,
        name: str,
        flavour: str,
        largest: Mapping[str, int],
        device: str = "cuda:0",
        runtime_cache: Path | None = None,
    ) -> None:
        """`runtime_cache` is the file for code that TensorRT for RTX compiles for this GPU at the first run.

        A graph without free dimensions is run as a CUDA graph if it can be recorded.

        Raises StaleEngine if `plan` is not for this library and GPU, OutOfMemory if the GPU is out of memory.
        """
        trt = library(flavour)
        self.name = name
        self.runtime = f"{flavour} {trt.__version__}"
        self.device = device
        self.inputs = by_name(graph.inputs)
        self.outputs = by_name(graph.outputs)
        self.largest = largest
        self._memory = DeviceMemory(device)
        self._lock = threading.Lock()
        self._runtime_cache: Any = None
        self._runtime_cache_file = runtime_cache
        is_static = not any(isinstance(size, str) for tensor in graph.inputs for size in tensor.shape)
        with self._memory.torch.cuda.device(self._memory.device):
            self._stream = self._memory.torch.cuda.Stream(self._memory.device)
            self._log = logger(trt)
            self._runtime = trt.Runtime(self._log)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise StaleEngine(f"{name}: {self.runtime} refuses the engine: {'; '.join(self._log.errors)}")
            self._context = self._new_context(trt)
            if self._context is None:
                raise OutOfMemory(f"no room on {device} for the {name}: {'; '.join(self._log.errors)}")
            # TensorRT for RTX reports whether it can be recorded. Plain TensorRT can record every static graph.
            can_record = getattr(self._context, "is_stream_capturable", lambda _: True)
            self._graph: _CudaGraph | None = None
            if is_static and can_record(self._stream.cuda_stream):
                self._graph = self._record()

    def _record(self) -> _CudaGraph | None:
        """The recorded run; None if it cannot be recorded, in which case single calls still work."""
        graph = _CudaGraph(self)
        try:
            graph.record()
        except (RuntimeError, ModelError) as error:  # of torch, if CUDA refuses; of the engine
            _log.warning("%s: no CUDA graph could be recorded, it is run call by call: %s", self.name, error)
            return None
        return graph

    def _new_context(self, trt: Any) -> Any:
        if not hasattr(self._engine, "create_runtime_config") or not hasattr(trt, "IRuntimeCache"):
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        self._runtime_cache = config.create_runtime_cache()
        if self._runtime_cache_file is not None and self._runtime_cache_file.is_file():
            self._runtime_cache.deserialize(self._runtime_cache_file.read_bytes())
        config.set_runtime_cache(self._runtime_cache)
        return self._engine.create_execution_context(config)

    def run(self, inputs: Mapping[str, Value], keep: Collection[str] = ()) -> dict[str, Value]:
        check_inputs(self, inputs)
        torch = self._memory.torch
        try:
            with self._lock, torch.cuda.device(self._memory.device):
                fed = {name: self._memory.put(value, self.inputs[name].dtype) for name, value in inputs.items()}
                results = self._graph.run(fed) if self._graph else self._execute(fed)
                self._keep_compiled()
                return {name: value if name in keep else value.cpu().numpy() for name, value in results.items()}
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(f"the segmenter's {self.name} ran out of memory on {self.device}: {error}") from error

    def _keep_compiled(self) -> None:
        """After the first run, store the code that TensorRT for RTX compiled for this GPU, for the next start."""
        if self._runtime_cache is not None and self._runtime_cache_file is not None:
            replace_file(self._runtime_cache_file, bytes(self._runtime_cache.serialize()))
            self._runtime_cache_file = None

    def _execute(self, fed: Mapping[str, Any]) -> dict[str, Any]:
        sizes = free_sizes(self.inputs, fed)
        results = {}
        for name, tensor in self.outputs.items():
            results[name] = self._memory.empty(shape_of(tensor, sizes), tensor.dtype)
        self._stream.wait_stream(self._memory.torch.cuda.current_stream())
        self.enqueue({**fed, **results})
        self._stream.synchronize()
        return results

    def enqueue(self, tensors: Mapping[str, Any]) -> None:
        """Queue one run over these inputs and outputs on the engine's stream."""
        for name, tensor in tensors.items():
            if name in self.inputs:
                self._context.set_input_shape(name, tuple(tensor.shape))
            self._context.set_tensor_address(name, tensor.data_ptr())
        self._log.errors.clear()
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            text = "; ".join(self._log.errors)
            kind = OutOfMemory if "memory" in text.lower() else ModelError
            raise kind(f"{self.name}: {self.runtime} could not run on {self.device}: {text}")

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Value:
        return self._memory.zeros(shape, dtype)

    def close(self) -> None:
        """Release the memory. The engine cannot run afterwards."""
        with self._lock:
            self._graph = self._context = self._engine = self._runtime_cache = None


class _CudaGraph:
    """A recorded run. Replaying it takes one launch instead of hundreds.

    Its inputs and outputs have fixed addresses, so values are copied into and out of them.
    """

    def __init__(self, engine: TensorRtEngine) -> None:
        memory = engine._memory
        self._torch, self._stream, self._engine = memory.torch, engine._stream, engine
        tensors = {**engine.inputs, **engine.outputs}
        self._fixed = {name: memory.zeros(shape_of(tensor, {}), tensor.dtype) for name, tensor in tensors.items()}
        memory.synchronize()
        engine.enqueue(self._fixed)  # the first run allocates and compiles, so it must not be recorded
        self._stream.synchronize()

    def record(self) -> None:
        """Raises RuntimeError or ModelError if CUDA or TensorRT fails."""
        self._graph = self._torch.cuda.CUDAGraph()
        # Other threads, such as the reasoner's, may use the GPU meanwhile.
        with self._torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            self._engine.enqueue(self._fixed)

    def run(self, fed: Mapping[str, Any]) -> dict[str, Any]:
        current = self._torch.cuda.current_stream()
        for name, value in fed.items():
            self._fixed[name].copy_(value)
        self._stream.wait_stream(current)
        with self._torch.cuda.stream(self._stream):
            self._graph.replay()
        current.wait_stream(self._stream)
        results = {name: self._fixed[name].clone() for name in self._engine.outputs}
        current.synchronize()
        return results

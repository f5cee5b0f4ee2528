"""Runs graphs with ONNX Runtime: on the CPU, or on a GPU through its CUDA or TensorRT provider.

This is the only file that imports onnxruntime to run graphs.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from filelock import FileLock
from numpy.typing import DTypeLike, NDArray

from reasonseg_ros.engine.device_memory import DeviceMemory
from reasonseg_ros.engine.files import private_folder
from reasonseg_ros.engine.manifest import Graph
from reasonseg_ros.engine.port import Engine, Value, by_name, check_inputs, free_sizes, shape_of
from reasonseg_ros.errors import ConfigError, ModelError, OutOfMemory

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
GIVE_BACK_S = 10.0
"""How often a graph on the CPU releases the memory of its intermediate values, which ONNX Runtime would keep."""
_MEMORY_WORDS = ("Failed to allocate memory", "bad allocation", "bad_alloc", "out of memory", "BFCArena")


def version() -> str:
    return str(onnxruntime.__version__)


def has_provider(provider: str) -> bool:
    """Whether the installed ONNX Runtime has this one of `PROVIDERS`."""
    return PROVIDERS[provider] in onnxruntime.get_available_providers()


def load_onnxruntime(
    path: Path,
    graph: Graph,
    *,
    name: str,
    provider: str = "cpu",
    gpu: int = 0,
    threads: int = 0,
    cache_folder: Path | None = None,
    build: str = "if_missing",
    workspace_mib: int = 0,
    sizes: Mapping[str, tuple[int, int, int]] | None = None,
    largest: Mapping[str, int] | None = None,
) -> Engine:
    """The graph of `path`, ready to run.

    Args:
        threads: CPU threads per operation; 0: one per core.
        cache_folder: for the engines that the TensorRT provider builds of this graph; no other graph may share it.
        build: `never`, `if_missing` or `force` (build again).
        workspace_mib: maximum memory of the builder; 0: no limit.
        sizes: minimum, typical and maximum of the free dimensions, for the TensorRT provider.
        largest: further limits of free dimensions.

    Raises ConfigError if the provider is not in the installed ONNX Runtime or cannot start (there is no silent fallback
    to the CPU), or if engines are missing and must not be built; ModelError if the file is unreadable.
    """
    wanted = _providers(graph, provider, gpu, cache_folder, sizes or {}, workspace_mib)
    if not has_provider(provider):
        raise ConfigError(
            f"{name}: ONNX Runtime {version()} is built without {PROVIDERS[provider]} (it has "
            f"{', '.join(onnxruntime.get_available_providers())}); install onnxruntime-gpu in place of onnxruntime, "
            "or set segmenter.device to cpu"
        )
    if provider != "cpu":
        _find_cuda()
    with built_engines(cache_folder, build, name):
        session = _session(path, threads, wanted)
    used = session.get_providers()
    if used[0] != PROVIDERS[provider]:
        raise ConfigError(
            f"{name}: ONNX Runtime {version()} started with {', '.join(used)} and not with {PROVIDERS[provider]}; "
            "install the CUDA, cuDNN or TensorRT libraries that it asks for, or set segmenter.device to cpu"
        )
    if provider == "cpu":
        return OnnxRuntimeCpu(session, graph, name, largest or {})
    built = {symbol: most for symbol, (_, _, most) in (sizes or {}).items()} if provider == "tensorrt" else {}
    return OnnxRuntimeBound(session, graph, name, f"cuda:{gpu}", {**built, **(largest or {})})


def _find_cuda() -> None:
    """Load CUDA and cuDNN from torch's wheels, where the system's loader does not look."""
    DeviceMemory("cuda")  # imports torch, and with it its CUDA
    if hasattr(onnxruntime, "preload_dlls"):  # since 1.21
        with redirect_stdout(sys.stderr):  # it prints the missing libraries
            onnxruntime.preload_dlls()


@contextmanager
def built_engines(cache_folder: Path | None, build: str, name: str) -> Iterator[None]:
    """Locks and prepares the folder of the TensorRT provider's engines according to `build`.

    Raises ConfigError if engines are missing and `build` is never, because the provider itself would build them.
    """
    if cache_folder is None:
        yield
        return
    for folder in (cache_folder.parents[1], cache_folder.parent, cache_folder):
        private_folder(folder)
    with FileLock(cache_folder / ".lock"):
        if build == "never" and not any(cache_folder.glob("*.engine")):
            raise ConfigError(
                f"no onnxruntime_tensorrt engine for the {name} in {cache_folder}, and segmenter.engine_build is "
                "never; run `reasonseg engine build FOLDER --runtime onnxruntime_tensorrt`"
            )
        for path in cache_folder.iterdir():
            # Links and other users' files are never from the provider.
            is_foreign = path.is_symlink() or path.stat().st_uid != os.geteuid()
            if is_foreign or (build == "force" and path.is_file() and path.name != ".lock"):
                path.unlink()
        yield


def _providers(
    graph: Graph,
    provider: str,
    gpu: int,
    cache_folder: Path | None,
    sizes: Mapping[str, tuple[int, int, int]],
    workspace_mib: int = 0,
) -> list[Any]:
    """Providers in order of preference, with their options, for `InferenceSession`."""
    cuda = (PROVIDERS["cuda"], {"device_id": gpu})
    if provider == "cpu":
        return [PROVIDERS["cpu"]]
    if provider == "cuda":
        return [cuda]
    tensorrt: dict[str, Any] = {"device_id": gpu}
    if cache_folder is not None:
        tensorrt |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(cache_folder)}
        tensorrt |= {"trt_timing_cache_enable": True, "trt_timing_cache_path": str(cache_folder)}
    if workspace_mib:
        tensorrt["trt_max_workspace_size"] = workspace_mib << 20
    # Without these profiles the provider would build again for each new number of objects or points.
    free = [tensor for tensor in graph.inputs if any(isinstance(size, str) for size in tensor.shape)]
    for index, word in enumerate(("min", "opt", "max") if free and sizes else ()):
        shapes = [
            f"{tensor.name}:{'x'.join(str(sizes[s][index] if isinstance(s, str) else s) for s in tensor.shape)}"
            for tensor in free
        ]
        tensorrt[f"trt_profile_{word}_shapes"] = ",".join(shapes)
    return [(PROVIDERS["tensorrt"], tensorrt), cuda]


class OnnxRuntimeCpu:
    """A graph in the machine's memory; every value is a numpy array."""

    def __init__(self, session: Any, graph: Graph, name: str, largest: Mapping[str, int]) -> None:
        self.name = name
        self.runtime = f"ONNX Runtime {version()}, CPU"
        self.device = "cpu"
        self.inputs = by_name(graph.inputs)
        self.outputs = by_name(graph.outputs)
        self.largest = largest
        self._session = session
        self._pool = _Pool()

    def run(self, inputs: Mapping[str, Value], keep: Collection[str] = ()) -> dict[str, Value]:
        check_inputs(self, inputs)
        feeds = {name: np.ascontiguousarray(value, dtype=self.inputs[name].dtype) for name, value in inputs.items()}
        with _memory_errors(self.name):
            found = self._session.run(list(self.outputs), feeds, self._pool.run_options())
        return dict(zip(self.outputs, found, strict=True))

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Value:
        return np.zeros(shape, dtype)

    def close(self) -> None:
        self._session = None


class OnnxRuntimeBound:
    """A graph on a GPU. Inputs and kept outputs are bound in place, so features never leave the device."""

    def __init__(self, session: Any, graph: Graph, name: str, device: str, largest: Mapping[str, int]) -> None:
        self.name = name
        self.runtime = f"ONNX Runtime {version()}, {session.get_providers()[0]}"
        self.device = device
        self.inputs = by_name(graph.inputs)
        self.outputs = by_name(graph.outputs)
        self.largest = largest
        self._session = session
        self._memory = DeviceMemory(self.device)
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, Value], keep: Collection[str] = ()) -> dict[str, Value]:
        check_inputs(self, inputs)
        with self._lock, _memory_errors(self.name):
            binding = self._session.io_binding()
            # The tensors must outlive the run, because the binding only holds their addresses.
            fed = {name: self._memory.put(value, self.inputs[name].dtype) for name, value in inputs.items()}
            for name, value in fed.items():
                self._bind(binding.bind_input, name, self.inputs[name].dtype, value)
            sizes = free_sizes(self.inputs, inputs)
            kept = {}
            for name, tensor in self.outputs.items():
                kept[name] = self._memory.empty(shape_of(tensor, sizes), tensor.dtype)
                self._bind(binding.bind_output, name, tensor.dtype, kept[name])
            self._memory.synchronize()  # pending writes of torch; ONNX Runtime uses another stream
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            return {name: value if name in keep else value.cpu().numpy() for name, value in kept.items()}

    def _bind(self, bind: Any, name: str, dtype: str, value: Any) -> None:
        device = value.device
        bind(name, device.type, device.index or 0, np.dtype(dtype), list(value.shape), value.data_ptr())

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Value:
        return self._memory.zeros(shape, dtype)

    def close(self) -> None:
        self._session = None


class _Pool:
    """The memory pool of a session on the CPU. Between runs it keeps as much as the largest run needed.

    Without a pool the system would clear memory for every run, which then takes 5 to 70 % longer (benchmarks/LOG.md).
    """

    def __init__(self) -> None:
        self._given_back_s = time.monotonic()

    def run_options(self) -> Any:
        """Options of the next run. Once in GIVE_BACK_S the pool is released to the system after the run."""
        now_s = time.monotonic()
        if now_s - self._given_back_s < GIVE_BACK_S:
            return None
        self._given_back_s = now_s
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return options


class BoundGraph:
    """A graph on the CPU whose values stay in the caller's numpy arrays: for a graph that runs for every token.

    Raises ModelError if the file is unreadable.
    """

    def __init__(self, path: Path, name: str, threads: int) -> None:
        self.name = name
        self.runtime = f"ONNX Runtime {version()}, CPU"
        # Resolved, because its weights may be a file beside it, and ONNX Runtime refuses links out of the folder.
        self._session = _session(path.resolve(), threads, [PROVIDERS["cpu"]])
        self._pool = _Pool()

    def bind(self, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """A function that runs the graph on the current content of these contiguous arrays, and writes into `outputs`.

        An array may be both input and output. The function raises ModelError or OutOfMemory.
        """
        binding = self._session.io_binding()
        values = {id(array): onnxruntime.OrtValue.ortvalue_from_numpy(array)
                  for array in (*inputs.values(), *outputs.values())}  # fmt: skip
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, values[id(array)])
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, values[id(array)])

        def run(
            kept: Any = (values, inputs, outputs),
        ) -> None:  # the default keeps the arrays alive
            with _memory_errors(self.name):
                self._session.run_with_iobinding(binding, self._pool.run_options())

        return run


def fold_constants(path: Path) -> None:
    """Fold the constants of a graph, and store all weights in its file."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path.with_suffix(".folded"))
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=[PROVIDERS["cpu"]])
    path.with_suffix(".folded").replace(path)


def _session(path: Path, threads: int, providers: list[Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors are raised as exceptions
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would slow down everything else on the machine, above all the reasoner.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if providers == [PROVIDERS["cpu"]]:
        # With memory patterns, each new input shape allocates a further block from its second run on, so the pool would
        # grow with the number of shapes.
        options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=providers)
    except Exception as error:  # the only common class of ONNX Runtime's errors
        raise ModelError(f"{path}: ONNX Runtime {version()} cannot load it: {error}; export it again") from error


@contextmanager
def _memory_errors(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Neither ONNX Runtime nor torch's CPU allocator has an exception class for missing memory.
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _MEMORY_WORDS):
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            raise ModelError(
                f"ONNX Runtime {version()} cannot run the {name}: {str(error).strip()}; export it again"
            ) from error
        raise OutOfMemory(
            f"the {name} ran out of memory: {error}; use a smaller checkpoint or image size, or fewer targets"
        ) from error

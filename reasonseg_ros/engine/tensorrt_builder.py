"""Builds TensorRT engines from ONNX files. TensorRT for RTX can build without a GPU, for other machines.

Networks are strongly typed: the precision is that of the ONNX file. TensorRT 11 supports nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reasonseg_ros.engine.files import read_private, replace_file
from reasonseg_ros.engine.manifest import Graph
from reasonseg_ros.engine.tensorrt import library, logger
from reasonseg_ros.errors import ConfigError, ModelError

Progress = Callable[[float], None]
"""Called with the finished share of the work, 0 to 1."""


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is built.

    Attributes:
        flavour: `tensorrt` or `tensorrt_rtx`.
        capabilities: compute capabilities to build for (`8.9`), TensorRT for RTX only; empty: this machine's GPU.
        sizes: minimum, typical and maximum of each free dimension, by its name in the manifest.
        optimization_level: TensorRT's, 0 to 5; None: its default.
        workspace_mib: maximum memory of a tactic; 0: TensorRT's default, all memory.
    """

    flavour: str
    sizes: Mapping[str, tuple[int, int, int]]
    capabilities: tuple[str, ...] = ()
    optimization_level: int | None = None
    workspace_mib: int = 0


def build(
    path: Path, graph: Graph, options: BuildOptions, timing_cache: Path | None = None, progress: Progress | None = None
) -> bytes:
    """The serialised engine of an ONNX file.

    `timing_cache` is read and written; plain TensorRT reuses its timings.

    Raises ModelError if the file cannot be parsed or built, ConfigError for a capability that the library does not
    support. An exception of `progress`, or of a signal handler, ends the build.
    """
    trt = library(options.flavour)
    log = logger(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        reasons = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise ModelError(
            f"{path}: {options.flavour} {trt.__version__} cannot read it: {reasons}; export it as fp16 or fp32"
        )
    _check_network(trt, network, graph, path)
    config = builder.create_builder_config()
    _set_capabilities(trt, config, options)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.workspace_mib:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    profile = builder.create_optimization_profile()
    for tensor in graph.inputs:
        if any(isinstance(size, str) for size in tensor.shape):
            shapes = zip(*(options.sizes[s] if isinstance(s, str) else (s, s, s) for s in tensor.shape), strict=True)
            profile.set_shape(tensor.name, *(tuple(shape) for shape in shapes))
    config.add_optimization_profile(profile)
    if timing_cache is not None and options.flavour == "tensorrt":  # TensorRT for RTX measures nothing during a build
        known = _known_timings(timing_cache)
        config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
    monitor = _monitor(trt, progress)
    config.progress_monitor = monitor
    plan = _build_in_a_thread(builder, network, config, monitor)
    if plan is None:
        raise ModelError(
            f"{path}: {options.flavour} {trt.__version__} cannot build it: {'; '.join(log.errors) or 'no reason given'}"
        )
    if timing_cache is not None and options.flavour == "tensorrt":
        replace_file(timing_cache, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _known_timings(timing_cache: Path) -> bytes:
    try:
        return read_private(timing_cache)
    except OSError:
        return b""


def _build_in_a_thread(builder: Any, network: Any, config: Any, monitor: Any) -> Any:
    """The engine, or None. Built in a thread, because exceptions of signal handlers in the main one cannot cross
    TensorRT."""
    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(builder.build_serialized_network, network, config)
        try:
            plan = built.result()
        except BaseException as error:
            monitor.error = monitor.error or error
    if monitor.error is not None:
        raise monitor.error
    return plan


def _check_network(trt: Any, network: Any, graph: Graph, path: Path) -> None:
    """Raises ModelError if the file's inputs and outputs are not those of the manifest."""
    found = {
        "inputs": [network.get_input(index) for index in range(network.num_inputs)],
        "outputs": [network.get_output(index) for index in range(network.num_outputs)],
    }
    for kind, described in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        expected = [(t.name, t.dtype, tuple(-1 if isinstance(s, str) else s for s in t.shape)) for t in described]
        present = [(t.name, np.dtype(trt.nptype(t.dtype)).name, tuple(t.shape)) for t in found[kind]]
        if sorted(present) != sorted(expected):
            raise ModelError(f"{path}: {kind} {present}; its manifest says {expected}; export it again")


def _set_capabilities(trt: Any, config: Any, options: BuildOptions) -> None:
    if not options.capabilities:
        return
    if not hasattr(config, "num_compute_capabilities"):
        raise ConfigError(
            f"capabilities {', '.join(options.capabilities)}: {options.flavour} builds on the GPU that will run the "
            "engine; build there, or use tensorrt_rtx"
        )
    known = trt.ComputeCapability.__members__
    config.num_compute_capabilities = len(options.capabilities)
    for index, capability in enumerate(options.capabilities):
        name = f"SM{capability.replace('.', '')}"
        if name not in known:
            names = ", ".join(f"{key[2:-1]}.{key[-1]}" for key in known if key.startswith("SM"))
            raise ConfigError(f"capability {capability}: {options.flavour} {trt.__version__} knows {names}")
        config.set_compute_capability(known[name], index)


def _monitor(trt: Any, progress: Progress | None) -> Any:
    """A progress monitor. TensorRT's phases nest: the steps of the outermost are counted, with the progress of its
    first child."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()
            self.error: BaseException | None = None
            self._reported = -1.0
            self._steps: dict[str, tuple[str | None, int, int]] = {}  # parent, steps, steps done
            self._lock = threading.Lock()  # TensorRT calls from several threads

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._steps[phase_name] = (parent_phase, num_steps, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            # False makes TensorRT stop and return no engine.
            try:
                with self._lock:
                    parent, steps, _ = self._steps.get(phase_name, (None, 1, 0))
                    self._steps[phase_name] = (parent, steps, step + 1)
                    done = self._done()
                if progress is not None and done >= self._reported + 0.01:
                    self._reported = done
                    progress(done)
            except BaseException as error:
                self.error = error
            return self.error is None

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._steps.pop(phase_name, None)

        def _done(self) -> float:
            outer = next((name for name, (parent, _, _) in self._steps.items() if not parent), None)
            if outer is None:
                return 0.0
            _, steps, done = self._steps[outer]
            inner = [number / max(of, 1) for parent, of, number in self._steps.values() if parent == outer]
            return min(1.0, (done + min(1.0, sum(inner[:1]))) / max(steps, 1))

    return Monitor()

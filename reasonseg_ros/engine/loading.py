"""Loads engines from an export folder: chooses the backend, builds if needed, checks and warms up."""

from __future__ import annotations

import logging
import platform
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from reasonseg_ros.engine.accuracy import Reference, check_engine
from reasonseg_ros.engine.cache import CachedEngine, EngineCache, EngineKey
from reasonseg_ros.engine.gpu import Gpu, gpus
from reasonseg_ros.engine.manifest import Graph, Manifest, file_sha256, read_manifest
from reasonseg_ros.engine.onnxruntime import load_onnxruntime
from reasonseg_ros.engine.onnxruntime import version as onnxruntime_version
from reasonseg_ros.engine.port import Engine, Report, warm_up
from reasonseg_ros.engine.tensorrt import StaleEngine, TensorRtEngine, cuda_major, library
from reasonseg_ros.engine.tensorrt_builder import BuildOptions, build
from reasonseg_ros.errors import ConfigError, ModelError

SIZES = {"N": (1, 1, 8), "P": (1, 3, 32)}
"""Objects and points that TensorRT's engines take: minimum, typical, maximum."""

_log = logging.getLogger(__name__)
_on_cpu: WeakValueDictionary[tuple[Path, str, int], Engine] = WeakValueDictionary()
"""Engines loaded on the CPU, by file, digest and number of threads."""


@dataclass(frozen=True)
class EngineOptions:
    """Options for running graphs.

    Attributes:
        backend: one of ENGINE_BACKENDS.
        device: `auto`, `cpu`, `cuda` or `cuda:1`; auto is the first GPU if there is one, else the CPU.
        build: when to build engines: one of ENGINE_BUILDS.
        threads: CPU threads per operation; 0: one per core.
        capabilities: compute capabilities that TensorRT for RTX builds for; empty: this machine's GPU.
        workspace_mib: maximum memory of TensorRT's builder; 0: no limit.
    """

    backend: str = "onnxruntime"
    device: str = "auto"
    build: str = "if_missing"
    threads: int = 0
    capabilities: tuple[str, ...] = ()
    workspace_mib: int = 0
    cache: EngineCache = field(default_factory=EngineCache)

    def __post_init__(self) -> None:
        for capability in self.capabilities:
            if not re.fullmatch(r"\d+\.\d", capability):
                raise ConfigError(f"capability {capability!r}; expected a compute capability such as 8.9")
        if self.capabilities and self.backend != "tensorrt_rtx":
            raise ConfigError(
                f"capabilities {', '.join(self.capabilities)}: {self.backend} builds for the GPU that is here and no "
                "other; leave them out, or use tensorrt_rtx"
            )


def load_engines(
    folder: Path, graphs: Collection[str], options: EngineOptions, report: Report | None = None
) -> dict[str, Engine]:
    """Warmed-up engines for these graphs of an export.

    Raises ModelError if the export or an engine is unusable, for example if a graph differs from its manifest;
    ConfigError if this machine cannot run the backend, or if an engine is missing and must not be built.
    """
    folder, say = Path(folder), report or _to_log
    manifest = read_manifest(folder, verify=True)
    device, gpu = engine_device(options)
    engines: dict[str, Engine] = {}
    try:
        if options.backend.startswith("tensorrt"):
            assert gpu is not None
            for name, engine in _load_tensorrt(folder, manifest, graphs, options, gpu, say):
                engines[name] = engine
        else:
            for name in graphs:
                engines[name] = _load_onnxruntime(folder, manifest, name, options, gpu)
        for name, engine in engines.items():
            say(f"warming up the {name} on {engine.runtime}, {device}", None)
            warm_up(engine)
    except BaseException:
        for engine in engines.values():
            if engine not in _on_cpu.values():  # engines on the CPU may be shared
                engine.close()
        raise
    return engines


def engine_device(options: EngineOptions) -> tuple[str, Gpu | None]:
    """Name of the device, and its GPU if it has one. Raises ConfigError if there is no such device."""
    found, wanted = gpus(), options.device
    if wanted == "auto":
        wanted = "cuda:0" if found else "cpu"
    kind, _, number = wanted.partition(":")
    if kind == "cpu" and options.backend != "onnxruntime":
        here = "this machine has none" if options.device == "auto" else f"device is {options.device}"
        raise ConfigError(
            f"backend = {options.backend!r}: {options.backend} needs an NVIDIA GPU, and {here}; use onnxruntime, or, "
            "with tensorrt_rtx, say for which GPUs to build: `reasonseg engine build FOLDER --capability 8.6 8.9 12.0`"
        )
    if kind == "cpu":
        return "cpu", None
    if kind != "cuda" or not (number.isdigit() or not number) or int(number or 0) >= len(found):
        names = ", ".join(f"cuda:{gpu.index} ({gpu.name})" for gpu in found) or "no NVIDIA GPU"
        raise ConfigError(f"device = {options.device!r}; this machine has cpu and {names}")
    gpu = found[int(number or 0)]
    return f"cuda:{gpu.index}", gpu


def build_engines(
    folder: Path, graphs: Collection[str], options: EngineOptions, report: Report | None = None
) -> dict[str, CachedEngine]:
    """Build the TensorRT engines of these graphs into the cache.

    With capabilities, TensorRT for RTX needs no GPU.
    """
    folder, say = Path(folder), report or _to_log
    manifest = read_manifest(folder, verify=True)
    gpu = None if options.capabilities else engine_device(options)[1]
    return {name: _build(folder, manifest, name, options, gpu, say) for name in graphs}


def _load_onnxruntime(folder: Path, manifest: Manifest, name: str, options: EngineOptions, gpu: Gpu | None) -> Engine:
    graph = manifest.graphs[name]
    provider = "cpu" if gpu is None else "tensorrt" if options.backend == "onnxruntime_tensorrt" else "cuda"
    largest: dict[str, int] = {}
    if name == "memory_attention" and provider != "tensorrt":
        # On a CPU several objects at once are not faster. They take several times the memory, which ONNX Runtime keeps.
        largest["N"] = 1 if provider == "cpu" else manifest.attended_at_once
    key = ((folder / graph.file).resolve(), graph.sha256, options.threads)
    if provider == "cpu" and (loaded := _on_cpu.get(key)) is not None:
        return loaded  # segmenter and tracker share the decoder; any thread may run it
    engine = load_onnxruntime(
        folder / graph.file,
        graph,
        name=name,
        provider=provider,
        gpu=gpu.index if gpu else 0,
        threads=options.threads,
        cache_folder=_onnxruntime_cache(manifest, name, options, gpu) if provider == "tensorrt" else None,
        build=options.build,
        workspace_mib=options.workspace_mib,
        sizes=SIZES,
        largest=largest,
    )
    if provider == "cpu":
        _on_cpu[key] = engine
    return engine


def _onnxruntime_cache(manifest: Manifest, name: str, options: EngineOptions, gpu: Gpu | None) -> Path:
    """The folder for the engines of ONNX Runtime's TensorRT provider, for this graph only.

    The provider identifies a graph by its name, so graphs that only differ in their weights must not share a folder.
    """
    key = EngineKey(
        onnx_sha256=manifest.graphs[name].sha256,
        flavour=options.backend,
        version=onnxruntime_version(),
        capabilities=(gpu.capability,) if gpu else (),
        gpu=gpu.name if gpu else "",
        cuda_major=gpu.cuda.split(".")[0] if gpu else "",
        machine=platform.machine(),
        sizes=SIZES,
        builder={"workspace_mib": options.workspace_mib},
        export_version=manifest.export_version,
    )
    return options.cache.folder / "onnxruntime_tensorrt" / f"{name}-{key.digest[:16]}"


def _load_tensorrt(
    folder: Path, manifest: Manifest, graphs: Collection[str], options: EngineOptions, gpu: Gpu, say: Report
) -> Iterator[tuple[str, Engine]]:
    reference = Reference(folder, manifest, options.threads)
    # All are built before the first is loaded, because building needs the memory.
    entries = {name: _build(folder, manifest, name, options, gpu, say) for name in graphs}
    for name, entry in entries.items():
        try:
            engine = _tensorrt_engine(manifest.graphs[name], name, options, gpu, entry)
        except StaleEngine as error:
            if options.build == "never":
                raise
            say(f"{error}; building it again", None)
            entry = _build(folder, manifest, name, options, gpu, say, force=True)
            engine = _tensorrt_engine(manifest.graphs[name], name, options, gpu, entry)
        yield name, engine
        if not entry.check:
            say(f"comparing the {name} with ONNX Runtime", None)
            options.cache.record_check(entry, check_engine(engine, name, reference))


def _tensorrt_engine(graph: Graph, name: str, options: EngineOptions, gpu: Gpu, entry: CachedEngine) -> Engine:
    return TensorRtEngine(
        entry.read(),
        graph,
        name=name,
        flavour=options.backend,
        largest={symbol: greatest for symbol, (_, _, greatest) in SIZES.items()},
        device=f"cuda:{gpu.index}",
        runtime_cache=options.cache.runtime_cache(entry),
    )


def _build(
    folder: Path, manifest: Manifest, name: str, options: EngineOptions, gpu: Gpu | None, say: Report,
    force: bool = False,
) -> CachedEngine:  # fmt: skip
    graph = manifest.graphs[name]
    key = engine_key(manifest, graph, options, gpu)
    path = folder / graph.file
    if options.build == "never":
        entry = options.cache.find(key)
        if entry is None:
            raise ConfigError(
                f"no {options.backend} engine for the {name} of {folder} and {', '.join(key.capabilities)}, and "
                f"segmenter.engine_build is never; run `reasonseg engine build {folder} --runtime {options.backend}`"
            )
        return entry
    target = f"the {name} for {', '.join(key.capabilities)} ({options.backend})"

    def build_now() -> bytes:
        if file_sha256(path) != graph.sha256:
            raise ModelError(f"{path} is not the file that its manifest describes; export it again")
        # Plain TensorRT builds for the present GPU and has no option for capabilities.
        capabilities = key.capabilities if options.backend == "tensorrt_rtx" else ()
        built = BuildOptions(options.backend, SIZES, capabilities, workspace_mib=options.workspace_mib)
        return build(path, graph, built, options.cache.timing_cache, partial(say, f"building {target}"))

    return options.cache.get_or_build(
        key,
        f"{manifest.name}-{name}",
        build_now,
        force=force or options.build == "force",
        waiting=lambda: say(f"waiting for another process that builds {target}", None),
    )


def engine_key(manifest: Manifest, graph: Graph, options: EngineOptions, gpu: Gpu | None) -> EngineKey:
    """The cache key of this graph's engine."""
    flavour = options.backend
    capabilities = options.capabilities or ((gpu.capability,) if gpu else ())
    return EngineKey(
        onnx_sha256=graph.sha256,
        flavour=flavour,
        version=str(library(flavour).__version__),
        capabilities=tuple(sorted(capabilities, key=float)),
        gpu=gpu.name if gpu and flavour == "tensorrt" else "",
        cuda_major=cuda_major(flavour) or (gpu.cuda.split(".")[0] if gpu else ""),
        machine=platform.machine(),
        sizes=SIZES,
        builder={"strongly_typed": True, "workspace_mib": options.workspace_mib},
        export_version=manifest.export_version,
    )


def _to_log(text: str, part: float | None) -> None:
    if not part:
        _log.info(text)

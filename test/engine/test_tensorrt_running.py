"""Runs engines without a GPU: fakes of TensorRT and CUDA compute through the given addresses."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from reasonseg_ros.engine.manifest import Graph, read_manifest
from reasonseg_ros.engine.tensorrt import StaleEngine, TensorRtEngine
from reasonseg_ros.errors import InvalidInput, ModelError, OutOfMemory

LARGEST = {"N": 8, "P": 32}
IMAGE = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), np.uint8)


class Context:
    """An execution context that reads and writes at the given addresses."""

    def __init__(self, session, graph: Graph, world: World) -> None:
        self.session, self.graph, self.world = session, graph, world
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 7, "not the engine's own stream"
        shapes, addresses = dict(self.shapes), dict(self.addresses)
        if self.world.failure:
            self.world.log.log(1, self.world.failure)
            return False
        if self.world.recording is not None:
            self.world.recording.recorded = lambda: self.compute(shapes, addresses)
        else:
            self.compute(shapes, addresses)
        return True

    def compute(self, shapes: dict, addresses: dict) -> None:
        self.world.runs += 1
        feeds = {}
        for tensor in self.graph.inputs:
            dtype, shape = np.dtype(tensor.dtype), shapes[tensor.name]
            size = dtype.itemsize * int(np.prod(shape))
            content = ctypes.string_at(addresses[tensor.name], size)
            feeds[tensor.name] = np.frombuffer(content, dtype).reshape(shape)
        for tensor, value in zip(self.graph.outputs, self.session.run(None, feeds), strict=True):
            content = np.ascontiguousarray(value, tensor.dtype).tobytes()
            ctypes.memmove(addresses[tensor.name], content, len(content))


class World:
    """The library and the GPU."""

    def __init__(self, export: Path, graph: Graph) -> None:
        self.export, self.graph = export, graph
        self.runs, self.failure, self.recording, self.accepts = 0, "", None, True
        self.can_record = True

    def library(self, flavour: str) -> SimpleNamespace:
        world = self

        class ILogger:
            Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)

        class Runtime:
            def __init__(self, log) -> None:
                world.log = log

            def deserialize_cuda_engine(self, plan: bytes):
                if not world.accepts:
                    world.log.log(1, "built by another version")
                    return None
                session = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
                engine = SimpleNamespace(create_execution_context=lambda *_: Context(session, world.graph, world))
                if flavour == "tensorrt_rtx":
                    engine.create_runtime_config = RuntimeConfig
                return engine

        class RuntimeConfig:
            def create_runtime_cache(self):
                return SimpleNamespace(serialize=lambda: b"compiled", deserialize=world.loaded)

            def set_runtime_cache(self, cache) -> bool:
                return True

        module = SimpleNamespace(ILogger=ILogger, Runtime=Runtime, __version__="1.0")
        if flavour == "tensorrt_rtx":
            module.IRuntimeCache = object
        return module

    def loaded(self, content: bytes) -> bool:
        self.cache_content = content
        return True


@pytest.fixture
def engine_of(export: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes the engine of a graph by its name, on the fake CUDA."""
    worlds: list[World] = []

    @contextlib.contextmanager
    def record(graph, stream, capture_error_mode) -> Iterator[None]:
        if not worlds[-1].can_record:
            raise RuntimeError("operation not permitted when stream is capturing")
        worlds[-1].recording = graph
        yield
        worlds[-1].recording = None

    class CudaGraph:
        def replay(self) -> None:
            self.recorded()

    class Stream:
        cuda_stream = 7

        def __init__(self, *_) -> None: ...
        def wait_stream(self, other) -> None: ...
        def synchronize(self) -> None: ...

    for name, value in {
        "device": lambda _: contextlib.nullcontext(), "stream": lambda _: contextlib.nullcontext(), "Stream": Stream,
        "current_stream": lambda *_: Stream(), "CUDAGraph": CudaGraph, "graph": record,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)

    def make(name: str, flavour: str = "tensorrt", **options) -> tuple[TensorRtEngine, World]:
        graph = read_manifest(export).graphs[name]
        world = options.pop("world", None) or World(export, graph)
        worlds.append(world)
        monkeypatch.setattr("reasonseg_ros.engine.tensorrt.library", world.library)
        plan = (export / graph.file).read_bytes()
        return TensorRtEngine(
            plan, graph, name=name, flavour=flavour, largest=LARGEST, device="cpu", **options
        ), world  # fmt: skip

    return make


def expected(export: Path, name: str, inputs: dict) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(export / f"{name}.onnx", providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


def prompts(features: dict, objects: int) -> dict:
    return {
        "image_embed": np.repeat(np.asarray(features["image_embed"]), objects, 0),
        "high_res_0": features["high_res_0"],
        "high_res_1": features["high_res_1"],
        "point_coords": np.arange(objects * 4, dtype=np.float32).reshape(objects, 2, 2),
        "point_labels": np.ones((objects, 2), np.int32),
    }


def test_a_graph_without_free_sizes_is_recorded_once_and_replayed(export: Path, engine_of) -> None:
    engine, world = engine_of("encoder")
    assert world.runs == 1  # before the recording
    first = engine.run({"image": IMAGE}, keep=("vision_feat",))
    second = engine.run({"image": 255 - IMAGE}, keep=("vision_feat",))
    assert world.runs == 3
    for found, image in ((first, IMAGE), (second, 255 - IMAGE)):  # a kept output is not overwritten by the next run
        for name, value in expected(export, "encoder", {"image": image}).items():
            np.testing.assert_allclose(np.asarray(found[name]), value, atol=1e-5)
    assert isinstance(first["vision_feat"], torch.Tensor) and isinstance(first["high_res_0"], np.ndarray)


def test_a_graph_that_cannot_be_recorded_is_run_call_by_call(
    export: Path, engine_of, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(export, read_manifest(export).graphs["encoder"])
    world.can_record = False
    engine, _ = engine_of("encoder", world=world)
    assert "encoder: no CUDA graph could be recorded" in caplog.text
    found = engine.run({"image": IMAGE})
    for name, value in expected(export, "encoder", {"image": IMAGE}).items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)


@pytest.mark.parametrize("objects", [1, 3, 8])
def test_free_sizes_are_those_of_the_inputs(export: Path, engine_of, objects: int) -> None:
    features = expected(export, "encoder", {"image": IMAGE})
    decoder, _ = engine_of("decoder")
    inputs = prompts(features, objects)
    on_device = {**inputs, "high_res_0": torch.from_numpy(inputs["high_res_0"])}
    found = decoder.run(on_device)
    for name, value in expected(export, "decoder", inputs).items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)
    if objects == 8:
        with pytest.raises(InvalidInput, match="N up to 8"):
            decoder.run(prompts(features, 9))


def test_what_was_compiled_for_this_gpu_is_kept_for_the_next_start(engine_of, tmp_path: Path) -> None:
    kept = tmp_path / "encoder.runtime"
    engine, world = engine_of("encoder", "tensorrt_rtx", runtime_cache=kept)
    assert not kept.exists()
    engine.run({"image": IMAGE})
    assert kept.read_bytes() == b"compiled"
    _, world = engine_of("encoder", "tensorrt_rtx", runtime_cache=kept)
    assert world.cache_content == b"compiled"


def test_an_engine_of_another_version_is_to_be_built_again(export: Path, engine_of) -> None:
    world = World(export, read_manifest(export).graphs["encoder"])
    world.accepts = False
    with pytest.raises(StaleEngine, match="built by another version"):
        engine_of("encoder", world=world)


@pytest.mark.parametrize(("text", "kind"), [("illegal address", ModelError), ("out of memory", OutOfMemory)])
def test_a_run_that_fails_says_why(export: Path, engine_of, text: str, kind: type[Exception]) -> None:
    engine, world = engine_of("decoder")
    world.failure = text
    with pytest.raises(kind, match=text):
        engine.run(prompts(expected(export, "encoder", {"image": IMAGE}), 1))

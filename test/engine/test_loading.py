from __future__ import annotations

import gc
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reasonseg_ros.config.models import ENGINE_BACKENDS
from reasonseg_ros.engine import loading
from reasonseg_ros.engine.accuracy import Reference, check_engine
from reasonseg_ros.engine.cache import EngineCache
from reasonseg_ros.engine.gpu import Gpu, gpus
from reasonseg_ros.engine.loading import EngineOptions, build_engines, engine_device, load_engines
from reasonseg_ros.engine.manifest import read_manifest
from reasonseg_ros.engine.onnxruntime import load_onnxruntime
from reasonseg_ros.engine.port import warm_up
from reasonseg_ros.engine.tensorrt import StaleEngine
from reasonseg_ros.errors import ConfigError, ModelError
from reasonseg_ros.files.resources import resource

ADA = Gpu(0, "RTX 4090", "8.9", 24 << 30, "13.0")


@pytest.fixture
def with_gpus(monkeypatch: pytest.MonkeyPatch):
    def pretend(*found: Gpu) -> None:
        monkeypatch.setattr(loading, "gpus", lambda: found)

    pretend(ADA, Gpu(1, "RTX 3060", "8.6", 12 << 30, "13.0"))
    return pretend


class TensorRt:
    """A fake of TensorRT: engines are ONNX Runtime's, plans are texts, and all calls are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, export: Path) -> None:
        self.export, self.built, self.made, self.closed = export, [], [], []
        self.stale, self.wrong = 0, False
        monkeypatch.setattr(loading, "build", self.build)
        monkeypatch.setattr(loading, "TensorRtEngine", self.engine)
        monkeypatch.setattr(loading, "library", lambda flavour: type("trt", (), {"__version__": "10.3.0"}))
        monkeypatch.setattr(loading, "cuda_major", lambda flavour: "13")  # else read from the installed package

    def build(self, path, graph, options, timing_cache, progress) -> bytes:
        assert (self.export / graph.file) == path
        self.built.append((path.stem, options.capabilities))
        progress(0.5)
        return f"plan {len(self.built)} of {path.stem}".encode()

    def engine(self, plan, graph, *, name, flavour, largest, device, runtime_cache):
        if self.stale:
            self.stale -= 1
            raise StaleEngine(f"{name}: refused")
        self.made.append((plan.decode(), device))
        engine = load_onnxruntime(self.export / graph.file, graph, name=name, threads=1)
        engine.largest = largest
        run = engine.run
        if self.wrong:
            engine.run = lambda inputs, keep=(): {key: value + 9 for key, value in run(inputs, keep).items()}
        engine.close = lambda: self.closed.append(name)
        return engine


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch, export: Path, with_gpus) -> TensorRt:
    return TensorRt(monkeypatch, export)


@pytest.fixture
def options(tmp_path: Path):
    def make(**values) -> EngineOptions:
        return EngineOptions(**{"backend": "tensorrt", "threads": 1, "cache": EngineCache(tmp_path), **values})

    return make


def test_the_driver_is_asked_without_a_library() -> None:
    for gpu in gpus():  # none on most machines
        assert gpu.name and gpu.memory_bytes > 0
        assert float(gpu.capability) >= 3.0


def test_the_first_gpu_is_taken_where_there_is_one(with_gpus) -> None:
    assert engine_device(EngineOptions()) == ("cuda:0", ADA)
    assert engine_device(EngineOptions(device="cuda")) == ("cuda:0", ADA)
    assert engine_device(EngineOptions(device="cuda:1"))[0] == "cuda:1"
    assert engine_device(EngineOptions(device="cpu")) == ("cpu", None)
    with_gpus()
    assert engine_device(EngineOptions()) == ("cpu", None)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"device": "cuda:2"}, r"cuda:2.*cuda:0 \(RTX 4090\), cuda:1"),
        ({"device": "tpu"}, "tpu"),
        ({"device": "cuda:x"}, "cuda:x"),
        ({"device": "cpu", "backend": "tensorrt"}, "tensorrt needs an NVIDIA GPU, and device is cpu; use onnxruntime"),
    ],
)
def test_a_device_that_cannot_be_is_named_with_those_that_can(with_gpus, values: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        engine_device(EngineOptions(**values))


def test_tensorrt_without_a_gpu_says_how_to_build_ahead(with_gpus, export: Path, options) -> None:
    with_gpus()
    with pytest.raises(ConfigError, match=r"this machine has none.*--capability"):
        load_engines(export, ("encoder",), options())


@pytest.mark.parametrize("capability", ["SM89", "8", "89", ""])
def test_a_capability_is_a_number_with_a_point(capability: str) -> None:
    with pytest.raises(ConfigError, match=r"such as 8\.9"):
        EngineOptions(capabilities=(capability,))


def test_a_graph_on_the_cpu_is_loaded_once_and_released_with_its_last_user(export: Path, options) -> None:
    wanted = options(backend="onnxruntime", device="cpu", threads=1)
    first, second = (load_engines(export, ("decoder",), wanted)["decoder"] for _ in range(2))
    assert first is second
    assert load_engines(export, ("decoder",), replace(wanted, threads=2))["decoder"] is not first
    known = weakref.ref(first)
    del first, second
    gc.collect()
    assert known() is None


def test_a_failure_closes_no_graph_that_others_run(export: Path, options, monkeypatch: pytest.MonkeyPatch) -> None:
    used = load_engines(export, ("decoder",), options(backend="onnxruntime", device="cpu"))["decoder"]

    def fail(engine) -> None:
        raise ModelError(f"{engine.name} is damaged")

    with monkeypatch.context() as patched:
        patched.setattr(loading, "warm_up", fail)
        with pytest.raises(ModelError, match="decoder is damaged"):
            load_engines(export, ("decoder", "encoder"), options(backend="onnxruntime", device="cpu"))
    warm_up(used)


def test_onnxruntime_runs_an_export_as_it_is(export: Path, options) -> None:
    steps = []
    engines = load_engines(
        export,
        ("encoder", "decoder"),
        options(backend="onnxruntime", device="cpu"),
        lambda *step: steps.append(step),
    )
    image = np.zeros((1, 32, 32, 3), np.uint8)
    assert engines["encoder"].run({"image": image})["image_embed"].shape == (1, 32, 2, 2)
    assert any("warming up the decoder" in text for text, _ in steps)


def test_engines_are_built_checked_and_then_taken_from_the_cache(tensorrt: TensorRt, export: Path, options) -> None:
    steps = []
    engines = load_engines(export, ("encoder", "decoder"), options(), lambda *step: steps.append(step))
    assert tensorrt.built == [("encoder", ()), ("decoder", ())]  # the plain library builds for the GPU it is on
    assert tensorrt.made == [("plan 1 of encoder", "cuda:0"), ("plan 2 of decoder", "cuda:0")]
    assert engines["decoder"].largest == {"N": 8, "P": 32}
    assert ("building the encoder for 8.9 (tensorrt)", 0.5) in steps
    assert [text for text, _ in steps if "comparing" in text] == [
        "comparing the encoder with ONNX Runtime", "comparing the decoder with ONNX Runtime",
    ]  # fmt: skip
    checks = [entry.check for entry in options().cache.entries()]
    assert all(checks) and any("mean_mask_iou" in check for check in checks)

    steps.clear()
    load_engines(export, ("encoder", "decoder"), options(build="never"), lambda *step: steps.append(step))
    assert len(tensorrt.built) == 2
    assert not [text for text, _ in steps if "comparing" in text]


def test_another_gpu_gets_its_own_engines(tensorrt: TensorRt, export: Path, options) -> None:
    for device in ("cuda:0", "cuda:1", "cuda:0"):
        load_engines(export, ("encoder",), options(backend="tensorrt_rtx", device=device))
    assert tensorrt.built == [("encoder", ("8.9",)), ("encoder", ("8.6",))]


def test_never_building_says_what_to_run(tensorrt: TensorRt, export: Path, options) -> None:
    with pytest.raises(ConfigError, match=f"reasonseg engine build {export} --runtime tensorrt"):
        load_engines(export, ("encoder",), options(build="never"))
    assert tensorrt.built == []


def test_force_builds_what_is_there(tensorrt: TensorRt, export: Path, options) -> None:
    for _ in range(2):
        load_engines(export, ("encoder",), options(build="force"))
    assert len(tensorrt.built) == 2


def test_an_engine_that_the_library_refuses_is_built_again(tensorrt: TensorRt, export: Path, options) -> None:
    load_engines(export, ("encoder",), options())
    tensorrt.stale = 1
    load_engines(export, ("encoder",), options())
    assert len(tensorrt.built) == 2
    tensorrt.stale = 2
    with pytest.raises(ModelError, match="refused"):
        load_engines(export, ("encoder",), options())


def test_a_wrong_engine_is_not_used(tensorrt: TensorRt, export: Path, options) -> None:
    tensorrt.wrong = True
    with pytest.raises(ModelError, match="image_embed_error = "):
        load_engines(export, ("encoder", "decoder"), options())
    assert tensorrt.closed == ["encoder"]
    assert not any(entry.check for entry in options().cache.entries())
    with pytest.raises(ModelError, match="image_embed_error = "):  # nor the next time, from the cache
        load_engines(export, ("encoder", "decoder"), options())


def test_engines_for_other_machines_are_built_without_a_gpu(tensorrt: TensorRt, with_gpus, export: Path, options):
    with_gpus()
    for _ in range(2):
        entries = build_engines(export, ("encoder",), options(backend="tensorrt_rtx", capabilities=("12.0", "8.9")))
    assert tensorrt.built == [("encoder", ("8.9", "12.0"))]
    assert entries["encoder"].check == {}
    with_gpus(ADA)
    load_engines(export, ("encoder",), options(backend="tensorrt_rtx", build="never"))
    assert options().cache.entries()[0].check  # it was built unchecked, and checked when it is used


def test_a_graph_that_is_not_the_manifests_is_not_built(tensorrt: TensorRt, export: Path, tmp_path: Path, options):
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in export.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    (changed / "encoder.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"encoder\.onnx.*manifest"):
        load_engines(changed, ("encoder",), options())


def run_everything(folder: Path, options: EngineOptions) -> None:
    """Load all graphs, compare each with ONNX Runtime on the CPU, and hand kept features from one to the next."""
    try:
        manifest = read_manifest(folder)
        engines = load_engines(folder, manifest.graphs, options)
    except (ConfigError, ModelError) as error:
        if "not installed" in str(error) or "built without" in str(error):
            pytest.skip(str(error))
        raise
    reference = Reference(folder, manifest, threads=1)
    for name, engine in engines.items():
        assert check_engine(engine, name, reference)
    outputs = [tensor.name for tensor in manifest.graphs["encoder"].outputs]
    kept = engines["encoder"].run(reference.inputs("encoder", 1), keep=outputs)
    for objects in (1, 3):
        prompts = reference.inputs("decoder", objects)
        expected = reference.run("decoder", prompts)["masks"]
        on_device = {name: kept.get(name, value) for name, value in prompts.items()}
        on_device["image_embed"] = engines["decoder"].zeros(prompts["image_embed"].shape, prompts["image_embed"].dtype)
        on_device["image_embed"][:] = kept["image_embed"]
        found = engines["decoder"].run(on_device)["masks"]
        assert np.mean((found > 0) == (expected > 0)) > 0.99
    for engine in engines.values():
        engine.close()


EXPORTS = {"made-up": None, "embedded": resource("models") / "tabletop" / "segmenter" / "onnx"}


@pytest.mark.parametrize("name", EXPORTS)
def test_engines_hand_on_what_they_kept(export: Path, options, name: str) -> None:
    run_everything(EXPORTS[name] or export, options(backend="onnxruntime", device="cpu"))


@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("backend", ENGINE_BACKENDS)
def test_engines_run_on_the_gpu(export: Path, options, name: str, backend: str) -> None:
    run_everything(EXPORTS[name] or export, options(backend=backend, device="cuda:0"))


def test_a_graph_that_differs_from_its_manifest_is_not_run_by_any_backend(export: Path, tmp_path: Path, options):
    changed = tmp_path / "changed"
    shutil.copytree(export, changed)
    graph = changed / "decoder.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(ModelError, match=r"decoder\.onnx, the decoder, is not the one that .*manifest"):
        load_engines(changed, ("encoder",), options(backend="onnxruntime", device="cpu"))


def test_onnxruntimes_tensorrt_engines_are_kept_apart_by_all_they_depend_on(
    export: Path, monkeypatch: pytest.MonkeyPatch, options
):
    seen = []
    monkeypatch.setattr(loading, "load_onnxruntime", lambda path, graph, **values: seen.append(values))
    manifest = read_manifest(export)
    graphs = {name: replace(graph, sha256="1" * 64) for name, graph in manifest.graphs.items()}
    usual = options(backend="onnxruntime_tensorrt")
    for of, options_, gpu in (
        (manifest, usual, ADA),
        (replace(manifest, graphs=graphs), usual, ADA),
        (manifest, replace(usual, workspace_mib=64), ADA),
        (manifest, usual, replace(ADA, name="RTX 3060", capability="8.6")),
        (manifest, replace(usual, build="force"), ADA),
    ):
        loading._load_onnxruntime(export, of, "encoder", options_, gpu)
    folders = [values["cache_folder"] for values in seen]
    assert len(set(folders[:4])) == 4 and folders[4] == folders[0]
    assert [values["build"] for values in seen] == ["if_missing"] * 4 + ["force"]
    assert {folder.parent for folder in folders} == {usual.cache.folder / "onnxruntime_tensorrt"}

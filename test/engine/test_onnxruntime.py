from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from reasonseg_ros.engine.manifest import Graph, Manifest, Tensor, read_manifest
from reasonseg_ros.engine.onnxruntime import OnnxRuntimeBound, _providers, built_engines, load_onnxruntime
from reasonseg_ros.engine.port import Engine, to_host, warm_up
from reasonseg_ros.errors import ConfigError, InvalidInput, ModelError, OutOfMemory

IMAGE = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), np.uint8)


@pytest.fixture
def manifest(export: Path) -> Manifest:
    return read_manifest(export)


def engine_of(export: Path, name: str, **options) -> Engine:
    graph = read_manifest(export).graphs[name]
    return load_onnxruntime(export / graph.file, graph, name=name, threads=1, **options)


def bound(engine: Engine, manifest: Manifest) -> Engine:
    """The engine of a GPU over the CPU's session: the binding is the same code."""
    return OnnxRuntimeBound(engine._session, manifest.graphs[engine.name], engine.name, "cpu", {"N": 8})


def prompts(features: dict, objects: int, points: int) -> dict:
    return {
        "image_embed": np.broadcast_to(to_host(features["image_embed"]), (objects, 32, 2, 2)),
        "high_res_0": features["high_res_0"],
        "high_res_1": features["high_res_1"],
        "point_coords": np.arange(objects * points * 2, dtype=np.float64).reshape(objects, points, 2),
        "point_labels": np.ones((objects, points), np.int64),
    }


def test_both_free_sizes_take_what_comes(export: Path) -> None:
    features = engine_of(export, "encoder").run({"image": IMAGE})
    decoder = engine_of(export, "decoder")
    together = decoder.run(prompts(features, 3, 2))
    assert {name: value.shape for name, value in together.items()} == {
        "masks": (3, 1, 8, 8), "iou": (3, 1), "object_score": (3, 1),
    }  # fmt: skip
    for index in range(3):
        one = {name: value[index : index + 1] if len(value) == 3 else value
               for name, value in prompts(features, 3, 2).items()}  # fmt: skip
        for name, value in decoder.run(one).items():
            np.testing.assert_allclose(value[0], together[name][index], atol=1e-5)


def test_a_graph_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    """It loads, as what is wrong depends on values."""
    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["": 18]>
        small (float[2, 4] image, int64[1] rows) => (float[N] part) { part = Reshape (image, rows) }""")
    path = tmp_path / "encoder.onnx"
    onnx.save(model, path)
    tensors = Tensor("image", "float32", (2, 4)), Tensor("rows", "int64", (1,))
    graph = Graph(path.name, "", tensors, (Tensor("part", "float32", ("N",)),))
    engine = load_onnxruntime(path, graph, name="encoder", threads=1)
    with pytest.raises(ModelError, match=r"cannot run the encoder: .*Reshape.*; export it again"):
        engine.run({"image": np.zeros((2, 4)), "rows": np.array([7])})


def test_a_bound_of_a_free_size_is_kept_and_reported(export: Path) -> None:
    features = engine_of(export, "encoder").run({"image": IMAGE})
    decoder = engine_of(export, "decoder", largest={"N": 2})
    assert decoder.largest == {"N": 2}
    assert decoder.run(prompts(features, 2, 2))["iou"].shape == (2, 1)
    with pytest.raises(InvalidInput, match="N up to 2"):
        decoder.run(prompts(features, 3, 2))


def test_the_cuda_of_torch_is_loaded_before_a_session_on_a_gpu(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    monkeypatch.setattr("reasonseg_ros.engine.onnxruntime.has_provider", lambda _: True)
    monkeypatch.setattr("reasonseg_ros.engine.onnxruntime._providers", lambda *_: ["CPUExecutionProvider"])
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: found.append("CUDA"), raising=False)
    engine_of(export, "encoder")
    assert not found
    with pytest.raises(ConfigError):
        engine_of(export, "encoder", provider="cuda")
    assert found == ["CUDA"]


def test_binding_gives_the_same_values_and_leaves_on_the_device_what_is_kept(export: Path, manifest: Manifest) -> None:
    plain = engine_of(export, "encoder"), engine_of(export, "decoder")
    on_device = [bound(engine, manifest) for engine in plain]
    expected = plain[0].run({"image": IMAGE})
    kept = on_device[0].run({"image": IMAGE}, keep=("high_res_0", "high_res_1"))
    assert {name for name, value in kept.items() if isinstance(value, torch.Tensor)} == {"high_res_0", "high_res_1"}
    for name, value in expected.items():
        np.testing.assert_allclose(to_host(kept[name]), value, atol=1e-5)
    masks = on_device[1].run(prompts(kept, 2, 3))["masks"]
    np.testing.assert_allclose(masks, plain[1].run(prompts(expected, 2, 3))["masks"], atol=1e-5)


@pytest.mark.parametrize("binds", [False, True])
def test_a_ring_buffer_of_values_is_the_same_on_any_device(export: Path, manifest: Manifest, binds: bool) -> None:
    engine = engine_of(export, "encoder")
    if binds:
        engine = bound(engine, manifest)
    ring = engine.zeros((2, 3, 32, 2, 2), np.float32)
    feature = engine.run({"image": IMAGE}, keep=("vision_feat",))["vision_feat"]
    ring[1, 2] = feature[0]
    assert type(ring) is type(feature)
    np.testing.assert_array_equal(to_host(ring)[1, 2], to_host(feature)[0])
    assert not to_host(ring)[0].any()


def test_warming_up_needs_no_more_than_the_graph(export: Path) -> None:
    for name in ("encoder", "decoder"):
        warm_up(engine_of(export, name))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"image_embed": np.zeros((2, 32, 4, 4), np.float32)}, r"image_embed.*\[2, 32, 4, 4\].*'N', 32, 2, 2"),
        ({"point_labels": np.zeros((3, 2), np.int32)}, r"point_labels.*\[3, 2\]"),
        ({"point_labels": np.zeros((2, 2, 1), np.int32)}, r"point_labels.*\[2, 2, 1\]"),
        ({"more": np.zeros(1)}, "more"),
    ],
)
def test_wrong_inputs_are_named_with_what_is_right(export: Path, change: dict, named: str) -> None:
    features = engine_of(export, "encoder").run({"image": IMAGE})
    with pytest.raises(InvalidInput, match=named):
        engine_of(export, "decoder").run({**prompts(features, 2, 2), **change})


def test_more_objects_than_the_engine_takes_are_refused(export: Path, manifest: Manifest) -> None:
    encoder, decoder = engine_of(export, "encoder"), bound(engine_of(export, "decoder"), manifest)
    with pytest.raises(InvalidInput, match="N up to 8"):
        decoder.run(prompts(encoder.run({"image": IMAGE}), 9, 2))


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_is_not_there_is_no_reason_for_the_cpu(export: Path, provider: str) -> None:
    from reasonseg_ros.engine.onnxruntime import has_provider

    if has_provider(provider):
        pytest.skip("this ONNX Runtime has it")
    with pytest.raises(ConfigError, match=r"(?i)without .*ExecutionProvider.*onnxruntime-gpu"):
        engine_of(export, "encoder", provider=provider)


def test_a_provider_that_fell_back_is_refused(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime itself goes on with the CPU when CUDA's libraries do not load."""
    monkeypatch.setattr("reasonseg_ros.engine.onnxruntime.has_provider", lambda _: True)
    monkeypatch.setattr("reasonseg_ros.engine.onnxruntime._providers", lambda *_: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match="started with CPUExecutionProvider and not with CUDAExecutionProvider"):
        engine_of(export, "encoder", provider="cuda")


def test_a_damaged_file_is_named(export: Path, manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_bytes((export / "encoder.onnx").read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"encoder\.onnx.*export it again"):
        load_onnxruntime(path, manifest.graphs["encoder"], name="encoder")


def test_memory_that_runs_out_is_said(export: Path) -> None:
    engine = engine_of(export, "encoder")

    class Full:
        def run(self, *_):
            raise RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 1")

    working, engine._session = engine._session, Full()
    with pytest.raises(OutOfMemory, match=r"encoder.*smaller checkpoint"):
        engine.run({"image": IMAGE})
    engine._session = working
    assert engine.run({"image": IMAGE})


def test_engines_of_the_tensorrt_provider_lie_in_their_own_folder(tmp_path: Path) -> None:
    graph = Graph("g.onnx", "0" * 64, (Tensor("points", "float32", (1, "N", 2)),), ())
    (name, options), (second, _) = _providers(graph, "tensorrt", 1, tmp_path, {"N": (1, 3, 8)}, 256)
    assert (name, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(tmp_path)
    assert options["trt_engine_cache_enable"] and options["device_id"] == 1
    assert options["trt_max_workspace_size"] == 256 << 20
    assert [options[f"trt_profile_{word}_shapes"] for word in ("min", "opt", "max")] == [
        "points:1x1x2", "points:1x3x2", "points:1x8x2",
    ]  # fmt: skip
    assert "trt_max_workspace_size" not in _providers(graph, "tensorrt", 0, tmp_path, {})[0][1]


def test_the_tensorrt_providers_engines_follow_engine_build(tmp_path: Path) -> None:
    folder = tmp_path / "engines" / "onnxruntime_tensorrt" / "encoder-0123"
    with pytest.raises(ConfigError, match="engine_build is never"), built_engines(folder, "never", "encoder"):
        raise AssertionError("nothing may be built")
    with built_engines(folder, "if_missing", "encoder"):
        (folder / "encoder_sm89.engine").write_bytes(b"plan")
        (folder / "encoder.timing").write_bytes(b"times")
    for made in (folder, folder.parent, folder.parents[1]):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
    for build in ("never", "if_missing"):
        with built_engines(folder, build, "encoder"):
            assert (folder / "encoder_sm89.engine").read_bytes() == b"plan"
    with built_engines(folder, "force", "encoder"):
        assert not list(folder.glob("*.engine")) and not list(folder.glob("*.timing"))
    (tmp_path / "planted").write_bytes(b"planted")
    (folder / "encoder_sm89.engine").symlink_to(tmp_path / "planted")
    with built_engines(folder, "if_missing", "encoder"):
        assert not list(folder.glob("*.engine"))
    assert (tmp_path / "planted").read_bytes() == b"planted"

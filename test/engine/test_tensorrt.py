"""Builds need TensorRT for RTX and no GPU; running is tested if there is one (test_loading)."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest.mock import MagicMock

import onnx
import pytest

from reasonseg_ros.cli import main
from reasonseg_ros.engine.cache import EngineCache
from reasonseg_ros.engine.loading import SIZES
from reasonseg_ros.engine.manifest import read_manifest
from reasonseg_ros.engine.tensorrt import cuda_major, library
from reasonseg_ros.engine.tensorrt_builder import BuildOptions, build
from reasonseg_ros.errors import ConfigError, ModelError

CAPABILITIES = ("8.6", "8.9", "12.0")
PLAIN_CONFIG = (
    "add_optimization_profile", "create_timing_cache", "set_timing_cache", "get_timing_cache", "set_memory_pool_limit",
    "progress_monitor", "builder_optimization_level",
)  # fmt: skip


class _TrtTensor(NamedTuple):
    name: str
    dtype: str
    shape: tuple[int, ...]


@pytest.fixture(scope="module")
def trt():
    try:
        return library("tensorrt_rtx")
    except ModelError as error:
        pytest.skip(str(error))


def options_of(**values) -> BuildOptions:
    return BuildOptions(**{"flavour": "tensorrt_rtx", "sizes": SIZES, "capabilities": CAPABILITIES, **values})


def test_a_library_that_is_missing_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasonseg_ros.engine.tensorrt.FLAVOURS", {"tensorrt_rtx": ("no_such_module",)})
    with pytest.raises(ModelError, match=r"not installed.*pip install --no-deps tensorrt_rtx_cu13_libs"):
        library("tensorrt_rtx")


def test_the_cuda_version_is_read_from_the_wheel(trt) -> None:
    assert cuda_major("tensorrt_rtx").isdigit()


def test_building_reports_its_progress(trt, export: Path) -> None:
    graph, parts = read_manifest(export).graphs["decoder"], []
    plan = build(export / graph.file, graph, options_of(), progress=parts.append)
    assert len(plan) > 1000
    assert parts == sorted(parts) and len(parts) > 2 and parts[0] >= 0 and parts[-1] <= 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_an_exception_ends_a_build(trt, export: Path, error: type[BaseException]) -> None:
    def interrupt(_: float) -> None:
        raise error

    graph = read_manifest(export).graphs["encoder"]
    with pytest.raises(error):
        build(export / graph.file, graph, options_of(), progress=interrupt)


def test_a_capability_that_the_library_does_not_know_is_named_with_those_it_does(trt, export: Path) -> None:
    graph = read_manifest(export).graphs["encoder"]
    with pytest.raises(ConfigError, match=r"capability 3\.5: .*8\.9"):
        build(export / graph.file, graph, options_of(capabilities=("3.5",)))


def test_a_file_that_is_no_graph_is_named(trt, export: Path, tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"encoder\.onnx.*cannot read it"):
        build(path, read_manifest(export).graphs["encoder"], options_of())


def test_a_graph_of_other_inputs_than_the_manifests_is_refused(trt, export: Path, tmp_path: Path) -> None:
    model = onnx.load(export / "decoder.onnx")
    model.graph.output[1].name = "quality"
    next(node for node in model.graph.node if node.output[0] == "iou").output[0] = "quality"
    onnx.save(model, tmp_path / "decoder.onnx")
    with pytest.raises(ModelError, match=r"outputs.*quality.*iou"):
        build(tmp_path / "decoder.onnx", read_manifest(export).graphs["decoder"], options_of())


def test_the_command_builds_lists_and_removes(trt, export: Path, tmp_path: Path, capsys) -> None:
    cache = ["--cache", str(tmp_path)]
    build_all = ["engine", "build", str(export), "--capability", *CAPABILITIES, *cache]
    assert main(build_all) == 0
    entries = EngineCache(tmp_path).entries()
    assert {entry.key.capabilities for entry in entries} == {CAPABILITIES}
    assert "not checked" in " ".join(capsys.readouterr().out.split())
    times = [entry.built for entry in entries]
    assert main(build_all) == 0
    assert [entry.built for entry in EngineCache(tmp_path).entries()] == times

    capsys.readouterr()
    assert main(["engine", "list", *cache]) == 0
    assert "made-up-" in capsys.readouterr().out
    assert main(["engine", "remove", "made-up-decoder", *cache]) == 0
    assert [entry.name.rsplit("-", 1)[0] for entry in EngineCache(tmp_path).entries()] == ["made-up-encoder"]
    assert main(["engine", "remove", "--all", *cache]) == 0
    assert EngineCache(tmp_path).entries() == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["remove"], "--all"),
        (["remove", "nothing"], "nothing"),
        (["build", "sam2.1-tiny"], "reasonseg export segmenter"),
        (["build", "EXPORT", "--graphs", "tracker"], "tracker.*encoder, decoder"),
        (["build", "EXPORT", "--capability", "SM89"], "such as 8.9"),
        (["build", "EXPORT", "--capability", "8.9", "--runtime", "tensorrt"], "leave them out, or use tensorrt_rtx"),
        (["build", "EXPORT", "--capability", "8.9", "--runtime", "onnxruntime"], "leave them out, or use tensorrt_rtx"),
    ],
)
def test_wrong_use_is_reported_with_the_remedy(export: Path, tmp_path: Path, capsys, arguments: list[str], named: str):
    arguments = [str(export) if argument == "EXPORT" else argument for argument in arguments]
    assert main(["engine", *arguments, "--cache", str(tmp_path)]) == 2
    assert re.search(named, capsys.readouterr().err)


def test_plain_tensorrt_keeps_its_timings_and_builds_for_this_gpu_only(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain library is not on every machine, so this stands in for it."""
    graph = read_manifest(export).graphs["decoder"]
    trt, config = MagicMock(__version__="10.3"), MagicMock(spec_set=PLAIN_CONFIG)
    trt.ILogger, trt.IProgressMonitor, trt.nptype = object, object, lambda name: name
    builder = trt.Builder.return_value
    builder.create_builder_config.return_value = config
    builder.build_serialized_network.return_value = b"plan"
    network = builder.create_network.return_value
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        found = [_TrtTensor(t.name, t.dtype, tuple(-1 if isinstance(s, str) else s for s in t.shape)) for t in tensors]
        setattr(network, f"num_{kind}s", len(found))
        getattr(network, f"get_{kind}").side_effect = found.__getitem__
    config.get_timing_cache.return_value.serialize.return_value = b"new timings"
    monkeypatch.setattr("reasonseg_ros.engine.tensorrt_builder.library", lambda _: trt)
    timings = tmp_path / "timing.cache"
    timings.write_bytes(b"old timings")

    options = options_of(flavour="tensorrt", capabilities=(), workspace_mib=512)
    assert build(export / graph.file, graph, options, timings) == b"plan"
    config.create_timing_cache.assert_called_once_with(b"old timings")
    assert timings.read_bytes() == b"new timings"
    assert config.set_memory_pool_limit.call_args.args[1] == 512 << 20
    profile = builder.create_optimization_profile.return_value
    profile.set_shape.assert_any_call("point_coords", (1, 1, 2), (1, 3, 2), (8, 32, 2))
    assert profile.set_shape.call_count == 3  # of what has free sizes
    with pytest.raises(ConfigError, match=r"builds on the GPU that will run.*tensorrt_rtx"):
        build(export / graph.file, graph, options_of(flavour="tensorrt"), timings)


WAITING_BUILD = """
import sys, time
from pathlib import Path
from reasonseg_ros.cli import main
from reasonseg_ros.engine import loading

build = loading.build

def slow(path, graph, options, timing_cache, progress):
    def tell(part):
        Path(sys.argv[2], "started").touch()
        time.sleep(0.2)  # in TensorRT's thread; the signal comes in the main one
        progress(part)
    return build(path, graph, options, timing_cache, tell)

loading.build = slow
sys.exit(main(["engine", "build", sys.argv[1], "--capability", "8.9", "--cache", sys.argv[2] + "/engines"]))
"""


def test_a_terminated_build_leaves_no_engine(trt, export: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITING_BUILD, str(export), str(tmp_path)]
    process = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2], stdout=subprocess.DEVNULL)
    try:
        subprocess.run(
            ["timeout", "60", "sh", "-c", "until [ -e started ]; do sleep 0.05; done"], cwd=tmp_path, check=True
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert EngineCache(tmp_path / "engines").entries() == []

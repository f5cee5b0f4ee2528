"""`kill -9` of an export: the folder is no export, or a complete one, and the next export works."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from killed_export import export_until

from reasonseg_ros.engine.manifest import Manifest, read_manifest
from reasonseg_ros.errors import ModelError
from test.export.conftest import SIZE_PX, SMALL_HIERA

LIMIT_S = 900.0
MOMENTS = 12 if os.environ.get("REASONSEG_EVERY_CALL") == "1" else 2
WRITING = "writing the "
BEFORE, AFTER = "before the folder takes its place", "after the folder took its place"


@pytest.fixture(scope="module")
def server() -> Any:
    """Forks a process without threads, in which torch is imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_export"])
    return context


def killed(
    server: Any, exported: tuple[Path, Manifest], source: Path, out: Path, step: str, delay_s: float = 0.0
) -> int:
    """Its exit code. The graphs that it writes before the step are copies."""
    written, manifest = exported
    names = list(manifest.graphs)
    if step.startswith(WRITING):
        names = names[: names.index(step.removeprefix(WRITING).replace(" ", "_"))]
    graphs = [manifest.graphs[name] for name in names]
    child = server.Process(
        target=export_until, args=(source, out, SIZE_PX, SMALL_HIERA, step, delay_s, written, graphs)
    )
    child.start()
    child.join(LIMIT_S)
    assert child.exitcode is not None
    return int(child.exitcode)


def whole_graphs(out: Path) -> list[str]:
    return sorted(read_manifest(out, verify=True).graphs)


def test_an_export_that_is_killed_at_any_moment_is_no_export(
    server: Any, timed_export: tuple[Path, Manifest, list[tuple[str, float]]], official_checkpoint: Path, tmp_path: Path
) -> None:
    exported, steps = timed_export[:2], timed_export[2]
    for number in range(MOMENTS):
        step, lasts_s = random.SystemRandom().choice(steps[1:])  # while it loads, nothing is written yet
        delay_s = random.SystemRandom().uniform(0.0, lasts_s)
        out = tmp_path / f"out{number}"
        code = killed(server, exported, official_checkpoint, out, step, delay_s)
        if code == 0:  # it was done before
            assert whole_graphs(out) == ["decoder", "encoder", "memory_attention", "memory_encoder"]
            continue
        assert code == -signal.SIGKILL, f"{delay_s:.3f} s after {step!r}"
        assert not out.exists(), f"{delay_s:.3f} s after {step!r}"


def test_the_folder_takes_its_place_whole_and_the_next_export_goes_on(
    server: Any, exported: tuple[Path, Manifest], official_checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert killed(server, exported, official_checkpoint, out, BEFORE) == -signal.SIGKILL
    assert not out.exists()
    with pytest.raises(ModelError, match=r"manifest\.json"):
        read_manifest(out, verify=True)
    assert killed(server, exported, official_checkpoint, out, AFTER) == -signal.SIGKILL
    assert whole_graphs(out) == ["decoder", "encoder", "memory_attention", "memory_encoder"]
    assert (out / "card.yaml").is_file()
    # A graph that is another file than the description says is never loaded.
    encoder = out / "encoder.onnx"
    encoder.write_bytes(encoder.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"encoder\.onnx"):
        read_manifest(out, verify=True)

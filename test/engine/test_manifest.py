from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reasonseg_ros.engine.manifest import (
    FILE_NAME,
    SETTLED_NS,
    Graph,
    Manifest,
    Memory,
    Tensor,
    file_sha256,
    read_manifest,
    write_manifest,
)
from reasonseg_ros.errors import ModelError


def export_in(folder: Path) -> Manifest:
    graphs = {}
    for name in ("encoder", "decoder"):
        (folder / f"{name}.onnx").write_bytes(name.encode())
        tensors = (Tensor("image", "uint8", (1, 64, 64, 3)),), (Tensor("masks", "float32", ("N", 1, 16, 16)),)
        graphs[name] = Graph(f"{name}.onnx", file_sha256(folder / f"{name}.onnx"), *tensors)
    manifest = Manifest(
        "small", "here", "0" * 64, "sam2", 64, 128, "fp32", False, 18, graphs, checks={"least_iou": 1.0}
    )
    write_manifest(manifest, folder)
    return manifest


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest = export_in(tmp_path)
    assert read_manifest(tmp_path, verify=True) == manifest


def test_a_file_is_read_again_only_if_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "weights", []
    sha256 = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda: read.append(1) or sha256())

    def digests(data: bytes) -> list[str]:
        """Before and after it has settled, for which the clock goes on."""
        with path.open("r+b" if path.exists() else "wb") as file:  # the same file, and size
            file.write(data)
        os.utime(path, (10**9, 10**9))
        found = [file_sha256(path), file_sha256(path)]
        now_ns = time.time_ns()
        with monkeypatch.context() as patch:
            patch.setattr(time, "time_ns", lambda: now_ns + 5 * SETTLED_NS)
            return [*found, file_sha256(path), file_sha256(path)]

    assert digests(b"one") == 4 * [sha256(b"one").hexdigest()]
    assert len(read) == 3
    time.sleep(0.05)  # longer than a step of the system's clock
    assert digests(b"two") == 4 * [sha256(b"two").hexdigest()]
    assert len(read) == 6


def test_memory_sizes_come_with_the_memory_graphs(tmp_path: Path) -> None:
    manifest = export_in(tmp_path)
    graphs = dict(manifest.graphs, memory_attention=manifest.graphs["encoder"])
    with pytest.raises(ModelError, match="expected exactly encoder, decoder, memory_attention, memory_encoder"):
        replace(manifest, memory=Memory(7, 16, 64))
    graphs["memory_encoder"] = manifest.graphs["encoder"]
    write_manifest(replace(manifest, memory=Memory(7, 16, 64), graphs=graphs), tmp_path)
    assert read_manifest(tmp_path).memory == Memory(7, 16, 64)


def test_fewer_memories_are_looked_at_at_once_the_larger_the_image(tmp_path: Path) -> None:
    manifest = export_in(tmp_path)
    graphs = dict.fromkeys(("encoder", "decoder", "memory_attention", "memory_encoder"), manifest.graphs["encoder"])
    manifest = replace(manifest, memory=Memory(7, 16, 64), graphs=graphs)
    at_once = {size_px: replace(manifest, size_px=size_px).attended_at_once for size_px in (256, 512, 1024, 2048)}
    assert at_once[256] > 100 and at_once[512] >= 8 and at_once[1024] == at_once[2048] == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("export_version", 0, "export_version = 0; expected 1, the version that this package reads; export"),
        ("precision", "fp8", "precision = 'fp8'; expected one of fp32, fp16, int8; export"),
        ("architecture", "sam3", "expected one of sam2, edgetam"),
        ("size_px", 100, "size_px = 100; expected a multiple of 32"),
        ("multimask", "no", "expected true or false"),
        ("graphs", {}, "expected exactly encoder, decoder"),
        ("graphs", {"encoder": {"file": "../encoder.onnx"}}, "is damaged: .*is not a name in the folder"),
        ("graphs", None, "is damaged: AttributeError"),
        ("colour", "red", "is damaged: TypeError"),
    ],
)
def test_a_damaged_manifest_says_what_is_wrong(tmp_path: Path, key: str, value: object, message: str) -> None:
    export_in(tmp_path)
    values = json.loads((tmp_path / FILE_NAME).read_text())
    (tmp_path / FILE_NAME).write_text(json.dumps({**values, key: value}))
    with pytest.raises(ModelError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x80"])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    export_in(tmp_path)
    (tmp_path / FILE_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match="export the checkpoint again"):
        read_manifest(tmp_path)


def test_a_folder_without_manifest_or_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_manifest(tmp_path)
    export_in(tmp_path)
    (tmp_path / "decoder.onnx").unlink()
    with pytest.raises(ModelError, match=r"decoder\.onnx, the decoder, is not there"):
        read_manifest(tmp_path)


def test_a_changed_graph_is_noticed_on_demand(tmp_path: Path) -> None:
    manifest = export_in(tmp_path)
    (tmp_path / "encoder.onnx").write_bytes(b"another")
    assert read_manifest(tmp_path) == manifest
    with pytest.raises(ModelError, match="is not the one that"):
        read_manifest(tmp_path, verify=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_px": 1 << 20}, "size_px = 1048576; expected a multiple of 32, at most 4096"),
        ({"size_px": True}, "size_px = True"),
        ({"channels": 10**9 * 32}, "channels = 32000000000"),
        ({"memory": {"slots": 10**9, "pointers": 16, "channels": 64}}, "memory|exactly"),
        ({"name": [["x"] * 10_000]}, "name|damaged|read"),
        ({"precision": ["fp32"] * 10_000}, r"precision = \['fp32', .*\.\.\.\]; expected"),
    ],
)
def test_sizes_that_no_checkpoint_has_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    export_in(tmp_path)
    values = json.loads((tmp_path / FILE_NAME).read_text())
    (tmp_path / FILE_NAME).write_text(json.dumps({**values, **change}))
    with pytest.raises(ModelError, match=message) as reported:
        read_manifest(tmp_path)
    assert len(str(reported.value)) < 600


@pytest.mark.parametrize("shape", [[1, 10**9, 10**9, 3], [1, -64, 64, 3], [1, 64.5, 64, 3], [1, [64], 64, 3], [True]])
def test_a_tensor_that_no_machine_holds_is_refused(tmp_path: Path, shape: list) -> None:
    export_in(tmp_path)
    values = json.loads((tmp_path / FILE_NAME).read_text())
    values["graphs"]["encoder"]["inputs"][0]["shape"] = shape
    (tmp_path / FILE_NAME).write_text(json.dumps(values))
    with pytest.raises(ModelError, match="is damaged: ValueError tensor 'image'"):
        read_manifest(tmp_path)


def test_a_deeply_nested_manifest_is_refused_in_one_line(tmp_path: Path) -> None:
    export_in(tmp_path)
    (tmp_path / FILE_NAME).write_text('{"graphs":' * 100_000)
    with pytest.raises(ModelError, match="nested deeper than 100 levels; export the checkpoint again"):
        read_manifest(tmp_path)

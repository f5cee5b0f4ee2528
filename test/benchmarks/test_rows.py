"""Each group of rows with one repetition, on small models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.table import gpu_rows, method_rows, random_reasoner, sam2_shapes, segmenter_rows, set_up_rows
from benchmarks.table.gpu_rows import STAND_IN
from benchmarks.table.random_reasoner import BY_NAME, Pointing
from reasonseg_ros.config import Config
from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.export import official
from reasonseg_ros.files.resources import resource
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Segmenter
from test.export.conftest import SMALL_HIERA

SMALL = STAND_IN.shape
assert SMALL is not None
SMALL_OFFICIAL = (
    "++model.image_encoder.trunk.embed_dim=16",
    "++model.image_encoder.trunk.stages=[1,1,2,1]",
    "++model.image_encoder.trunk.global_att_blocks=[3]",
    "++model.image_encoder.neck.backbone_channel_list=[128,64,32,16]",
    "++model.image_size=64",
    "++model.memory_attention.num_layers=1",
)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return load_segmenter(SegmenterConfig(device="cpu", threads=1, refine="none"))


@pytest.fixture(scope="module")
def predictor() -> sam2_shapes.OfficialPredictor:
    pytest.importorskip("sam2", reason="needs requirements/sam2.txt; run `make setup`")
    return sam2_shapes.OfficialPredictor(sam2_shapes.official_model("tiny", SMALL_OFFICIAL), "cpu")


@pytest.fixture(scope="module")
def model() -> Any:
    return random_reasoner.random_model(SMALL, "cpu", torch.float32)


def test_the_encoder_and_the_decoder(predictor: sam2_shapes.OfficialPredictor, segmenter: Segmenter) -> None:
    encoder = list(segmenter_rows.encoder_rows(predictor, {"fp32": segmenter}, 1, {"fp32": 1.2}))
    decoder = list(segmenter_rows.decoder_rows(predictor, segmenter, 1, {1: 1e9, 8: None}))
    assert [row.aim for row in encoder] == [1.2]
    assert all(row.value > 0 and row.details["ours"]["median_ms"] > 0 for row in [*encoder, *decoder])
    assert [row.is_met for row in decoder] == [False, None]


def test_shares_of_the_matrix_peak(predictor: sam2_shapes.OfficialPredictor, segmenter: Segmenter) -> None:
    rows = list(segmenter_rows.share_rows(predictor, segmenter, 1))
    assert [row.aim for row in rows] == [None, 70.0, 70.0] and all(row.unit == "% of the bound" for row in rows)
    for row, name in zip(rows, ("encoder", "8 objects", "16 objects"), strict=True):
        rates = row.details["gmac_per_s"]
        assert name in row.name and row.value == pytest.approx(100 * rates[name] / rates["product"])
    assert rows[0].details["gmac"]["product"] == pytest.approx(2048**3 / 1e9)
    assert rows[2].details["gmac"]["16 objects"] == pytest.approx(16 * 1.27)


def test_a_file_with_two_names_takes_its_space_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one").write_bytes(b"x" * 100_000)
    alone = set_up_rows.disk_bytes(tmp_path)
    (tmp_path / "two").hardlink_to(tmp_path / "folder" / "one")
    assert 100_000 <= alone == set_up_rows.disk_bytes(tmp_path) < 150_000


def test_the_picture_has_eight_prompts_in_it() -> None:
    rgb, groundings = sam2_shapes.picture_with_prompts((1280, 720))
    assert rgb.shape == (720, 1280, 3) and len(groundings) == 8
    for grounding in groundings:
        x1, y1, x2, y2 = grounding.box_xyxy
        assert 0 <= x1 < x2 <= 1280 and 0 <= y1 < y2 <= 720
        assert ((grounding.points_xy > [x1, y1]) & (grounding.points_xy < [x2, y2])).all()
        assert grounding.points_xy.shape == (2, 2)


def test_questions_and_tokens_of_the_embedded_models() -> None:
    fresh, alike, prepared, tokens = method_rows.rows("cpu", 1, 1)
    assert fresh.aim == alike.aim == 3.0 and prepared.aim == 5.0 and tokens.aim == 3.5
    assert float(fresh.note.rpartition(" ")[2]) > 0.8, "both sides mark the same"
    assert float(alike.note.rpartition(" ")[2]) > 0.98, "without refinement both sides mark nearly the same pixels"
    assert "0 of 1 answers differ in length" in tokens.note


def test_the_published_shapes_have_the_published_numbers_of_weights() -> None:
    found = {name: random_reasoner.random_model(shape, "meta", torch.bfloat16) for name, shape in BY_NAME.items()}
    assert {name: sum(weight.numel() for weight in model.parameters()) for name, model in found.items()} == {
        "3B": 3_754_622_976, "7B": 8_292_166_656,
    }  # fmt: skip


def test_a_token_reads_the_weights_and_what_came_before(model: Any) -> None:
    layer = 48 * (48 + 16 + 16) + 48 + 16 + 16 + 48 * 48 + 3 * 48 * 64 + 2 * 48
    weights = 2 * layer + 48 + 2000 * 48
    assert random_reasoner.token_bytes(model, 10) == 4 * (weights + 10 * 2 * 2 * 16)


def test_the_rows_of_a_random_reasoner(
    model: Any, predictor: sam2_shapes.OfficialPredictor, segmenter: Segmenter
) -> None:
    prompt, token, share = gpu_rows.token_rows(SMALL, model, 1, 1e9, new_tokens=5)
    assert prompt.name.startswith("prompt of ") and prompt.value > 0
    assert "which are the same" in token.note
    assert share.aim == 60.0 and "bound" in share.note  # the time is a difference, which a busy machine makes negative
    reasoner = Pointing(SMALL, model, 4)
    method = SegZero(reasoner, KeptFeatures(segmenter), Config())
    fresh, prepared = gpu_rows.question_rows(method, predictor, 1)
    assert (fresh.aim, prepared.aim) == (1.3, 2.5)
    assert prepared.details["ours"]["median_ms"] > 0


def test_the_bandwidth_is_in_bytes_a_second() -> None:
    assert 1e7 < gpu_rows.copy_bandwidth("cpu", 1 << 24, 2) < 1e13


def test_memory_of_what_was_used_once() -> None:
    used = []
    made, (held_mib, most_mib) = gpu_rows.loaded(lambda: [1], used.append)
    assert made == [1] and used == [[1]]
    assert held_mib == most_mib == 0.0 or torch.cuda.is_available()


def test_the_rows_of_a_gpu_by_a_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no CPU runs is reported and does not end the rest."""
    pytest.importorskip("sam2", reason="needs requirements/sam2.txt; run `make setup`")
    monkeypatch.setitem(official._HIERA, (16, 5), SMALL_HIERA)
    embedded = resource("models") / "tabletop" / "segmenter" / "onnx"
    monkeypatch.setattr(sam2_shapes, "exported", lambda *_: embedded)  # exporting takes its time
    scale = replace(STAND_IN, changes=SMALL_OFFICIAL)
    engines = {row.name: row for row in gpu_rows.engine_rows("tiny", tmp_path, 1, scale)}
    refused = [row for row in engines.values() if row.value is None]
    assert [row.name.split()[5] for row in refused] == ["tensorrt", "tensorrt_rtx"]
    assert all("needs an NVIDIA GPU" in row.note for row in refused)
    measured = [row for row in engines.values() if row.unit == "x" and row.value]
    assert len(measured) == 3 and all("onnxruntime fp16" in row.name for row in measured)

    rows = list(gpu_rows.reasoner_rows("3B", tmp_path, 1, scale))
    assert [row.unit for row in rows] == ["GB/s", "MiB", "x", "x", "% of the bound", "x", "x"]
    assert not [row.note for row in rows if row.value is None]
    assert "ONNX Runtime" in rows[-1].ours, "the first runtime that runs here"


def test_an_export_is_made_again_when_the_weights_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def export(source: str, folder: Path, **_: Any) -> None:
        made.append(folder)
        folder.mkdir()

    monkeypatch.setattr(sam2_shapes, "export_segmenter", export)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text('{"model_type": "sam2"}', encoding="utf-8")
    (checkpoint / "model.safetensors").write_bytes(b"first")
    first = [sam2_shapes.exported(str(checkpoint), 64, "fp32", tmp_path) for _ in range(2)]
    assert made == first[:1] == first[1:]
    (checkpoint / "model.safetensors").write_bytes(b"second")
    second = sam2_shapes.exported(str(checkpoint), 64, "fp32", tmp_path)
    assert second != first[0] and second.is_dir()
    assert not first[0].exists(), "the old one is gone"

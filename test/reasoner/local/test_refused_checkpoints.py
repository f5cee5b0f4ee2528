"""Checkpoints and settings that the local reasoner refuses, with the reason and the remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reasonseg_ros.errors import ConfigError, ModelError
from reasonseg_ros.reasoner.loading import load_reasoner
from test.reasoner.local.on_cpu import config

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def break_folder(folder: Path, how: str) -> None:
    weights, settings = folder / "model.safetensors", folder / "config.json"
    if how == "no weights":
        weights.unlink()
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "pickled weights":
        weights.rename(folder / "pytorch_model.bin")
    elif how == "broken settings":
        settings.write_text('{"model_type": "qwen2_5_vl"')
    elif how == "other shape":
        values = json.loads(settings.read_text())
        values["text_config"]["intermediate_size"] *= 2
        settings.write_text(json.dumps(values))
    elif how == "more layers":
        values = json.loads(settings.read_text())
        values["vision_config"]["depth"] += 1
        settings.write_text(json.dumps(values))
    elif how == "no processor":
        (folder / "processor_config.json").unlink()
    elif how == "no tokenizer":
        (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    "how",
    [
        "no weights", "cut weights", "pickled weights", "broken settings", "other shape", "more layers",
        "no processor", "no tokenizer",
    ],
)  # fmt: skip
def test_a_damaged_folder_is_named_with_the_remedy(checkpoint: Path, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(checkpoint, folder)
    break_folder(folder, how)
    with pytest.raises(ModelError, match="download") as caught:
        load_reasoner(config(folder))
    assert str(folder) in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_text("kind: reasoner\nsource: ./gone\ndialect: seg_zero\nimage_size_wh: [840, 840]\n")
    with pytest.raises(ModelError, match=f"{tmp_path}/gone is missing"):
        load_reasoner(config(path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_an_absent_gpu_is_never_replaced(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="device = 'cuda' cannot be used"):
        load_reasoner(config(checkpoint, device="cuda"))
    with pytest.raises(ModelError, match="needs a GPU and the bitsandbytes package"):
        load_reasoner(config(checkpoint, quantization="4bit"))


def test_an_unknown_device_is_named(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="device = 'toaster'"):
        load_reasoner(config(checkpoint, device="toaster"))


def test_pixel_limits_against_the_card_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="224x168"):
        load_reasoner(config(checkpoint, max_pixels=10_000))
    with pytest.raises(ConfigError, match="swap"):
        load_reasoner(config(checkpoint, min_pixels=20, max_pixels=10))


def test_offline_and_not_there_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=r"reasoner\.offline is set"):
        load_reasoner(config(Path("qwen3-vl-4b"), offline=True))

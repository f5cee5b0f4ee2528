"""Folders and files of models in formats that are never loaded: each is named, with what to do."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from reasonseg_ros import cli
from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.model_formats import other_format
from reasonseg_ros.hub.stored import stored
from reasonseg_ros.model_card import load_card

BASE = "Qwen/Qwen2.5-VL-7B-Instruct"
CONFIG = {"model_type": "qwen2_5_vl"}
FOLDERS = {
    "adapter": (
        {
            "adapter_config.json": {"base_model_name_or_path": BASE, "peft_type": "LORA"},
            "adapter_model.safetensors": "",
        },
        f"an adapter of {BASE}.*merge it into {BASE}",
    ),
    "adapter without its base's name": ({"adapter_config.json": ["r", 8]}, "merge it into its base model"),
    "adapter beside whole weights": (
        {"config.json": CONFIG, "model.safetensors": "", "adapter_config.json": {"base_model_name_or_path": "/data/b"}},
        "an adapter of /data/b",
    ),
    "gguf": (
        {"Qwen2.5-VL-7B-Q4_K_M.gguf": "GGUF", "mmproj-F16.gguf": "GGUF"},
        "GGUF weights.*reasoner.backend: server",
    ),
    "pickles": ({"config.json": CONFIG, "pytorch_model.bin": "PK"}, "Python objects.*safetensors"),
    "official SAM2": ({"sam2.1_hiera_small.pt": "PK"}, "Python objects"),
    "optimum": ({"config.json": CONFIG, "onnx/model.onnx": ""}, "another exporter.*reasonseg export"),
    "onnx": ({"encoder.onnx": "", "decoder.onnx": ""}, "another exporter"),
    "TensorRT-LLM": (
        {"config.json": {"pretrained_config": {}}, "rank0.engine": ""},
        "TensorRT engines of another program",
    ),
}


def fill(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


@pytest.mark.parametrize("kind", ["reasoner", "segmenter"])
@pytest.mark.parametrize(("files", "stated"), FOLDERS.values(), ids=FOLDERS)
def test_folders_in_another_format_are_named_with_the_remedy(tmp_path, files, stated, kind):
    folder = fill(tmp_path / "model", files)
    with pytest.raises(ModelError, match=stated) as error:
        load_card(str(folder), kind)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)
    # A card in the folder makes it a model; its files are refused all the same.
    shipped = {"reasoner": "qwen2.5-vl-7b", "segmenter": "sam2.1-small"}[kind]
    assert stored(replace(load_card(shipped, kind), source=str(folder))).error == other_format(folder) != ""


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("adapter_model.safetensors", f"an adapter of {BASE}"), ("q4.GGUF", "GGUF"), ("sam2.onnx", "another exporter"),
        ("model.safetensors", "name the folder that holds it"),
    ],
)  # fmt: skip
def test_files_in_place_of_a_folder_are_refused(tmp_path, name, stated):
    path = fill(tmp_path, {"adapter_config.json": {"base_model_name_or_path": BASE}, name: ""}) / name
    with pytest.raises(ModelError, match=f"is a file: .*{stated}"):
        load_card(str(path), "reasoner")


def test_checkpoints_and_own_exports_pass(tmp_path):
    whole = {"config.json": CONFIG, "model.safetensors": "", "model.gguf": "", "training_args.bin": ""}
    assert other_format(fill(tmp_path / "checkpoint", whole)) == ""
    assert other_format(fill(tmp_path / "export", {"manifest.json": {}, "encoder.onnx": ""})) == ""
    assert other_format(fill(tmp_path / "empty", {"README.md": ""})) == ""


def test_the_command_line_names_it(tmp_path, capsys):
    folder = fill(tmp_path / "lora\x1b[2J", FOLDERS["adapter"][0])
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    assert cli.main(["ask", str(tmp_path / "a.png"), "the mug", "--model", str(folder)]) == 2
    error = capsys.readouterr().err
    assert f"adapter of {BASE}" in error and "\x1b" not in error

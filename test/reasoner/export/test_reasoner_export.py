"""The export of a reasoner: what it writes, checks and refuses, and what its runtime refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from reasonseg_ros.cli import main
from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ConfigError, InvalidInput, ModelError
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.reasoner.onnx.reasoner import OnnxReasoner

pytest.importorskip("torch")
pytest.importorskip("transformers")
check = pytest.importorskip("reasonseg_ros.reasoner.export.check")
run = pytest.importorskip("reasonseg_ros.reasoner.export.run")
stored = pytest.importorskip("reasonseg_ros.reasoner.export.stored_weights")

SHORT_TOKENS = 8
FEW_QUESTIONS = ("the largest thing",)


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "random-reasoner"
    shutil.copytree(checkpoint, copy)
    return copy


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("exported") / "random-reasoner"
    shutil.copytree(checkpoint, copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "LONGEST_TOKENS", SHORT_TOKENS)
        patch.setattr(check, "QUESTIONS", FEW_QUESTIONS)
        run.export_reasoner(str(copy))
    return copy


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check compares few short texts: random weights rarely end a text, and one test compares all of them."""
    monkeypatch.setattr(check, "LONGEST_TOKENS", SHORT_TOKENS)
    monkeypatch.setattr(check, "QUESTIONS", FEW_QUESTIONS)


def test_the_verb_writes_small_graphs_beside_the_weights(folder, capsys, monkeypatch):
    monkeypatch.setattr(check, "LONGEST_TOKENS", 32)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["export", "reasoner", "--model", str(folder)]) == 0
    assert "equal texts: 1.0" in capsys.readouterr().out
    added = {path.name: path.stat().st_size for path in folder.iterdir() if path.name not in before}
    assert added.keys() == {"vision.onnx", "text.onnx", "graphs.json"} and max(added.values()) < 100_000
    assert all((folder / name).read_bytes() == content for name, content in before.items())
    assert isinstance(load_reasoner(ReasonerConfig(model=str(folder))), OnnxReasoner)
    assert not list(folder.parent.glob(".export-*"))


def test_the_places_of_weights_are_safetensors_own(folder):
    from safetensors.numpy import load_file

    expected = load_file(folder / "model.safetensors")
    weights = stored.stored_weights(folder)
    assert weights.keys() == expected.keys()
    data = (folder / "model.safetensors").read_bytes()
    for name, weight in weights.items():
        values = np.frombuffer(data[weight.offset : weight.offset + weight.length], "<f4").reshape(weight.shape)
        np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_other_precisions_stand_alone(folder, tmp_path, monkeypatch, short, precision):
    monkeypatch.setattr(check, "BOX_IOU_OTHERS", 0.0)  # random weights answer by chance
    out = tmp_path / "out" / precision
    manifest, place = run.export_reasoner(str(folder), out, precision=precision)
    assert place == out and manifest.precision == precision and 0 <= manifest.checks["box_iou"] <= 1
    assert not list(out.glob("*.safetensors"))
    shutil.rmtree(folder)
    size = sum(path.stat().st_size for path in out.glob("*.onnx"))
    frame = next(check.questions(load_reasoner(ReasonerConfig(model=str(out))).card))[0]
    assert load_reasoner(ReasonerConfig(model=str(out))).answer(frame, "red").tokens > 0
    assert size < 40_000_000


def test_an_export_that_says_something_else_is_not_kept(folder, monkeypatch, short):
    write = run.text_graph

    def wrong(path, config, weights):
        config.text_config.rms_norm_eps = 1.0
        write(path, config, weights)
        config.text_config.rms_norm_eps = 1e-6

    monkeypatch.setattr(run, "text_graph", wrong)
    names = {path.name for path in folder.iterdir()}
    with pytest.raises(ModelError, match=r"the graphs give the checkpoint's text for \d+ of \d+ questions"):
        run.export_reasoner(str(folder))
    assert {path.name for path in folder.iterdir()} == names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"precision": "fp16"}, "expected one of fp32, int8, int4"),
        ({"out": Path("x")}, "--out with precision fp32"),
        ({"precision": "int8"}, "add --out"),
        ({"precision": "int8", "out": Path(__file__)}, "is not an empty folder"),
    ],
)
def test_arguments_that_cannot_be_used(folder, arguments, words):
    with pytest.raises(InvalidInput, match=words):
        run.export_reasoner(str(folder), **arguments)


def test_linked_weights_are_refused(folder, tmp_path):
    """Snapshots in the hub's cache are such folders."""
    blob = tmp_path / "blobs" / "0123"
    blob.parent.mkdir()
    shutil.move(folder / "model.safetensors", blob)
    (folder / "model.safetensors").symlink_to(blob)
    names = {path.name for path in folder.iterdir()}
    with pytest.raises(InvalidInput, match=r"model\.safetensors is a link to .*0123.*cp -rL"):
        run.export_reasoner(str(folder))
    assert {path.name for path in folder.iterdir()} == names


def test_a_folder_reached_by_a_link_is_exported(folder, tmp_path, short):
    link = tmp_path / "link"
    link.symlink_to(folder)
    run.export_reasoner(str(link))
    assert isinstance(load_reasoner(ReasonerConfig(model=str(link))), OnnxReasoner)


def test_a_checkpoint_on_the_hub_is_refused():
    with pytest.raises(InvalidInput, match="is on the hub; download it"):
        run.export_reasoner("qwen2.5-vl-3b")


@pytest.mark.parametrize("name", ["model.safetensors", "text.onnx", "tokenizer.json", "chat_template.jinja"])
def test_a_file_that_was_changed_or_lost_is_noticed(exported, tmp_path, name):
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ModelError, match=f"{name} is not the file that was exported"):
        load_reasoner(ReasonerConfig(model=str(folder), backend="onnxruntime"))
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} cannot be read"):
        load_reasoner(ReasonerConfig(model=str(folder), backend="onnxruntime"))


@pytest.mark.parametrize(
    "change", [
        {"version": 9}, {"precision": "fp8"}, {"end_tokens": []}, {"text": {}}, {"vision": None}, {"files": {}},
        {"end_tokens": [-1]}, {"image_token": 10**6}, {"image_token": 5.0}, {"repetition_penalty": 0},
        {"min_pixels": 9000, "max_pixels": 8000}, {"min_pixels": 0}, {"max_pixels": 10**9}, {"max_pixels": 9e3},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_description_is_refused(exported, tmp_path, change):
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    values = json.loads((folder / "graphs.json").read_text())
    (folder / "graphs.json").write_text(json.dumps({**values, **change}))
    with pytest.raises(ModelError, match=r"graphs\.json.*export it again"):
        load_reasoner(ReasonerConfig(model=str(folder), backend="onnxruntime"))


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [("files", "model.safetensors", None), ("vision", "std", [0, 1, 1]), ("vision", "mean", [0.5])],
)
def test_a_description_that_would_show_other_images_or_weights_is_refused(exported, tmp_path, group, key, value):
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    values = json.loads((folder / "graphs.json").read_text())
    values[group][key] = value
    if value is None:
        del values[group][key]
    (folder / "graphs.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match=r"graphs\.json.*export it again"):
        load_reasoner(ReasonerConfig(model=str(folder), backend="onnxruntime"))


@pytest.mark.parametrize(
    "values", [{"dtype": "float16"}, {"attention": "eager"}, {"quantization": "8bit"}, {"device": "cuda"}],
    ids=str,
)  # fmt: skip
def test_settings_that_graphs_cannot_follow_are_refused(exported, values):
    with pytest.raises(ConfigError, match=r"set reasoner\.backend to local|set it to cpu"):
        load_reasoner(ReasonerConfig(model=str(exported), backend="onnxruntime", **values))


def test_without_graphs_the_backend_is_refused(folder):
    with pytest.raises(ModelError, match=r"graphs\.json cannot be read"):
        load_reasoner(ReasonerConfig(model=str(folder), backend="onnxruntime"))

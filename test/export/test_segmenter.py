from __future__ import annotations

import errno
import os
import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from reasonseg_ros.engine.manifest import FILE_NAME, Manifest, file_sha256, read_manifest
from reasonseg_ros.engine.onnxruntime import load_onnxruntime
from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.export import check, official, segmenter
from reasonseg_ros.export.graphs import describe
from reasonseg_ros.export.int8 import quantize
from reasonseg_ros.export.reference import look, track
from reasonseg_ros.export.scenes import sample_scene
from reasonseg_ros.export.segmenter import export_segmenter
from reasonseg_ros.files.resources import resource
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.model_card import load_card
from reasonseg_ros.segmenter.exported import prompt_points
from test.export.conftest import SIZE_PX, SMALL_HIERA

SCENE = sample_scene(SIZE_PX, 5)


@pytest.fixture(scope="module")
def engines(exported: tuple[Path, Manifest]) -> dict[str, Any]:
    folder, manifest = exported
    graphs = manifest.graphs.items()
    return {name: load_onnxruntime(folder / graph.file, graph, name=name, threads=1) for name, graph in graphs}


@pytest.fixture(scope="module")
def features(engines: dict[str, Any]) -> dict[str, np.ndarray]:
    encoded = engines["encoder"].run({"image": SCENE.rgb[None]})
    encoded.pop("vision_feat")
    return encoded


def decode(engines: dict[str, Any], features: dict[str, np.ndarray], coords: Any, labels: Any) -> dict[str, np.ndarray]:
    embed = features["image_embed"].repeat(len(labels), axis=0)
    prompt = {"point_coords": np.asarray(coords, np.float32), "point_labels": np.asarray(labels, np.int32)}
    return engines["decoder"].run({**features, "image_embed": embed, **prompt})


def test_the_folder_says_what_is_in_it(exported: tuple[Path, Manifest]) -> None:
    folder, manifest = exported
    assert read_manifest(folder, verify=True) == manifest
    files = {"encoder.onnx", "decoder.onnx", "memory_attention.onnx", "memory_encoder.onnx", FILE_NAME, "card.yaml"}
    assert {path.name for path in folder.iterdir()} == files
    assert not list(folder.parent.glob(".*")), "the temporary folder is gone"
    card = load_card(str(folder), "segmenter")
    assert card.multimask is manifest.multimask is True
    assert Path(card.source) == folder

    shapes = {
        name: {tensor.name: (tensor.dtype, tensor.shape) for tensor in (*graph.inputs, *graph.outputs)}
        for name, graph in manifest.graphs.items()
    }
    assert shapes["encoder"] == {
        "image": ("uint8", (1, 64, 64, 3)),
        "image_embed": ("float32", (1, 16, 256)),
        "high_res_0": ("float32", (1, 64, 128)),
        "high_res_1": ("float32", (1, 16, 256)),
        "vision_feat": ("float32", (1, 256, 4, 4)),
    }
    assert shapes["decoder"] == {
        "image_embed": ("float32", ("N", 16, 256)),
        "high_res_0": ("float32", (1, 64, 128)),
        "high_res_1": ("float32", (1, 16, 256)),
        "point_coords": ("float32", ("N", "P", 2)),
        "point_labels": ("int32", ("N", "P")),
        "masks": ("float32", ("N", 1, 16, 16)),
        "iou": ("float32", ("N", 1)),
        "object_score": ("float32", ("N", 1)),
        "object_pointer": ("float32", ("N", 256)),
    }
    assert shapes["memory_attention"] == {
        "vision_feat": ("float32", (1, 256, 4, 4)),
        "mem_feat": ("float32", ("N", 7, 16, 64)),
        "mem_slot": ("int32", ("N", 7)),
        "obj_ptr": ("float32", ("N", 16, 256)),
        "ptr_dt": ("float32", ("N", 16)),
        "image_embed": ("float32", ("N", 16, 256)),
    }
    assert shapes["memory_encoder"] == {
        "vision_feat": ("float32", (1, 256, 4, 4)),
        "masks": ("float32", ("N", 1, 16, 16)),
        "object_score": ("float32", ("N", 1)),
        "prompted": ("float32", ("N",)),
        "mem_feat": ("float32", ("N", 16, 64)),
    }


def test_the_files_hold_nothing_of_the_machine_that_wrote_them(exported: tuple[Path, Manifest]) -> None:
    folder, _ = exported
    for path in folder.iterdir():
        content = path.read_bytes()
        assert b"site-packages" not in content
        assert str(Path(segmenter.__file__).parent).encode() not in content


def test_the_masks_were_compared(exported: tuple[Path, Manifest]) -> None:
    _, manifest = exported
    assert {name for name in manifest.checks if "mean" in name} == {
        "allowed_mean_iou", "one_object_mean_iou", "8_objects_mean_iou", "tracked_mean_iou",
    }  # fmt: skip
    assert min(manifest.checks.values()) >= 0.999


def test_the_official_predictor_transformers_and_the_graphs_agree(
    official_model: Any, official_checkpoint: Path, engines: dict[str, Any], features: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    monkeypatch.setitem(official._HIERA, (16, 5), SMALL_HIERA)
    transformers = official.load_official(official_checkpoint, SIZE_PX)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package about itself
        predictor = SAM2ImagePredictor(official_model)
    predictor._bb_feat_sizes = [(16, 16), (8, 8), (4, 4)]  # it expects 1024 px
    predictor.set_image(SCENE.rgb)
    coords, labels = prompt_points(SCENE.groundings, (SIZE_PX, SIZE_PX), SIZE_PX)
    decoded = decode(engines, features, coords, labels)
    seen = look(transformers, SCENE.rgb)
    shares = []
    for row, grounding in enumerate(SCENE.groundings):
        points = len(grounding.points_xy) > 0
        _, scores, logits = predictor.predict(
            box=grounding.box_xyxy if grounding.has_box else None,
            point_coords=grounding.points_xy if points else None,
            point_labels=grounding.point_labels if points else None,
            multimask_output=True,
        )
        expected, found = logits[scores.argmax()], decoded["masks"][row, 0]
        np.testing.assert_allclose(found.clip(-32, 32), expected, atol=1e-3)  # the predictor clips
        assert decoded["iou"][row, 0] == pytest.approx(scores.max(), abs=1e-5)
        real = labels[row] >= 0
        reference = track(transformers, [seen], coords[row][real], labels[row][real].tolist(), True)[0]
        np.testing.assert_allclose(found, reference, atol=1e-3)
        shares.append((found > 0).mean())
    assert np.ptp(shares) > 0.05, "the masks differ"


def test_ignored_points_change_nothing(engines: dict[str, Any], features: dict[str, np.ndarray]) -> None:
    box = [[10.0, 12.0], [40.0, 50.0], [0.0, 0.0]]
    alone = decode(engines, features, [box], [[2, 3, -1]])
    filled = decode(engines, features, [[*box, [7.0, 9.0], [60.0, 1.0]]], [[2, 3, -1, -10, -10]])
    padded = decode(engines, features, [[*box, [7.0, 9.0]]], [[2, 3, -1, -1]])
    for name, value in alone.items():
        np.testing.assert_allclose(filled[name], value, atol=1e-4, err_msg=name)
    assert np.abs(padded["masks"] - alone["masks"]).max() > 0.01, "a padding point is not an ignored one"


def test_memories_that_are_empty_change_nothing(
    exported: tuple[Path, Manifest], engines: dict[str, Any], features: dict[str, np.ndarray]
) -> None:
    _, manifest = exported
    rng = np.random.default_rng(0)
    assert manifest.memory is not None
    slots, pointers = manifest.memory.slots, manifest.memory.pointers
    state = {
        "vision_feat": rng.normal(size=(1, 256, 4, 4)),
        "mem_feat": rng.normal(size=(3, slots, 16, 64)),
        "mem_slot": np.tile([slots - 1, 0, *[-1] * (slots - 2)], (3, 1)),
        "obj_ptr": rng.normal(size=(3, pointers, 256)),
        "ptr_dt": np.tile([2, 1, *[-1] * (pointers - 2)], (3, 1)),
    }
    cleared = {**state, "mem_feat": state["mem_feat"].copy(), "obj_ptr": state["obj_ptr"].copy()}
    cleared["mem_feat"][:, 2:], cleared["obj_ptr"][:, 2:] = 0, 0
    found, expected = (engines["memory_attention"].run(values)["image_embed"] for values in (state, cleared))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    state["mem_slot"][:, 2] = 1
    assert np.abs(engines["memory_attention"].run(state)["image_embed"] - expected).max() > 1e-2


def test_int8_quantises_the_encoder(
    exported: tuple[Path, Manifest], engines: dict[str, Any], features: dict[str, np.ndarray], tmp_path: Path
) -> None:
    folder, manifest = exported
    path = tmp_path / "encoder.onnx"
    shutil.copy(folder / "encoder.onnx", path)
    quantize(path)
    assert [file.name for file in tmp_path.iterdir()] == ["encoder.onnx"]
    counts = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert counts["MatMulInteger"] > 20
    assert counts["Conv"] == Counter(node.op_type for node in onnx.load(folder / "encoder.onnx").graph.node)["Conv"]
    quantised = load_onnxruntime(path, manifest.graphs["encoder"], name="encoder", threads=1)
    encoded = quantised.run({"image": SCENE.rgb[None]})
    encoded.pop("vision_feat")
    coords, labels = prompt_points(SCENE.groundings, (SIZE_PX, SIZE_PX), SIZE_PX)
    masks = [decode(engines, values, coords, labels)["masks"] > 0 for values in (features, encoded)]
    assert np.mean([mask_iou(a, b) for a, b in zip(*masks, strict=True)]) > 0.9


def test_a_worse_export_is_refused_with_its_figures_and_not_kept(
    exported: tuple[Path, Manifest], official_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, manifest = exported
    # The graphs of other weights.
    weights = torch.load(official_checkpoint, weights_only=True)["model"]
    name = "sam_mask_decoder.mask_tokens.weight"
    torch.save({"model": {**weights, name: weights[name].flip(1)}}, tmp_path / "other.pt")

    def other_graphs(checkpoint: Any, precision: str, into: Path, report: Any) -> Any:
        for graph in manifest.graphs.values():
            shutil.copy(folder / graph.file, into)
        return manifest.graphs

    monkeypatch.setattr(segmenter, "_write_graphs", other_graphs)
    monkeypatch.setattr(check, "SEEDS", (0,))
    monkeypatch.setitem(official._HIERA, (16, 5), SMALL_HIERA)
    with pytest.raises(ModelError, match=r"one object mean iou 0\.\d+, .*each mean has to be 0\.999 or more"):
        export_segmenter(str(tmp_path / "other.pt"), tmp_path / "out", size_px=SIZE_PX)
    assert [path.name for path in tmp_path.iterdir()] == ["other.pt"]


def test_int8_leaves_out_what_reads_nothing_of_the_image(tmp_path: Path) -> None:
    """Such as the resizing of base-plus's positional map, which ONNX Runtime cannot run in int8."""
    rng, constants = np.random.default_rng(0), {"weight": (4, 3), "stretch": (8, 4), "positions": (1, 3, 4, 4)}
    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["": 18]>
        small (float[2, 4] image) => (float[2, 3] product, float[1, 3, 8, 4] places) {
            product = MatMul (image, weight)
            places = MatMul (stretch, positions)
        }""")
    for index, name in enumerate(("product", "places")):
        model.graph.node[index].name = name
    for name, shape in constants.items():
        value = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    path = tmp_path / "encoder.onnx"
    onnx.save(model, path)
    quantize(path)
    assert Counter(node.op_type for node in onnx.load(path).graph.node if "MatMul" in node.op_type) == {
        "MatMulInteger": 1, "MatMul": 1,
    }  # fmt: skip
    engine = load_onnxruntime(path, describe(path), name="encoder", threads=1)
    assert engine.run({"image": np.ones((2, 4), np.float32)})["places"].shape == (1, 3, 8, 4)


def full_disk(folder: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def another_export(folder: Path) -> None:
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "encoder.onnx").touch()


@pytest.mark.parametrize(
    ("meanwhile", "reason", "left"),
    [
        (full_disk, "No space left on device; nothing was kept", []),
        (another_export, "not empty.*nothing was kept", ["out"]),
    ],
)
def test_a_folder_that_cannot_be_written_is_reported_and_nothing_is_left(
    tmp_path: Path, meanwhile: Any, reason: str, left: list[str]
) -> None:
    def write() -> None:
        with segmenter._beside(tmp_path / "out") as folder:
            (folder / "encoder.onnx").touch()
            meanwhile(folder)

    with pytest.raises(InvalidInput, match=reason):
        write()
    assert [path.name for path in tmp_path.iterdir()] == left


def test_a_checkpoint_that_marks_nothing_cannot_be_checked() -> None:
    nothing = np.zeros((8, 8), bool)
    with pytest.raises(ModelError, match="marks nothing"):
        check._judge({"one_object": [(nothing, nothing)]}, "fp32")


def test_wrong_values_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="size 100; expected a multiple of 32"):
        export_segmenter("tabletop-segmenter", tmp_path / "out", size_px=100)
    with pytest.raises(InvalidInput, match="precision 'fp8'; expected one of fp32, fp16, int8"):
        export_segmenter("tabletop-segmenter", tmp_path / "out", precision="fp8")
    (tmp_path / "mine.txt").touch()
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(InvalidInput, match="is not an empty folder; give a new one"):
            export_segmenter("tabletop-segmenter", out)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_embedded_export_is_of_the_embedded_weights() -> None:
    folder = resource("models") / "tabletop" / "segmenter"
    manifest = read_manifest(folder / "onnx", verify=True)
    assert manifest.weights_sha256 == file_sha256(folder / "model.safetensors"), "export it again"
    assert manifest.precision == "fp32" and manifest.size_px == 512 and manifest.multimask is False
    assert min(manifest.checks.values()) >= 0.999

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.engine.export_folder import BESIDE, weights_sha256
from reasonseg_ros.engine.manifest import FILE_NAME, file_sha256
from reasonseg_ros.errors import ConfigError, ModelError
from reasonseg_ros.files.resources import resource
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.images.files import read_image
from reasonseg_ros.model_card import load_card
from reasonseg_ros.segmenter import loading
from reasonseg_ros.segmenter.exported import ExportedSegmenter, prompt_points
from reasonseg_ros.segmenter.loading import choose_backend, load_segmenter
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.types import Grounding

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = resource("models") / "tabletop" / "segmenter"
LEAST_IOU, SCORE_TOLERANCE = 0.999, 1e-3
"""Parity with the checkpoint in torch, float32."""

GROUNDINGS = [
    Grounding([60, 60, 260, 250]),
    Grounding([300, 80, 500, 300], [[400, 200]]),
    Grounding([120, 250, 330, 420], [[200, 330], [250, 350]]),
    Grounding([340, 240, 600, 460], [[470, 350], [350, 250]], [1, 0]),
    Grounding([250, 200, 251, 201], [[250, 200]], has_box=False),
    Grounding([20, 20, 620, 460]),
]


def segmenter_of(**values) -> Segmenter:
    return load_segmenter(SegmenterConfig(**{"device": "cpu", "refine": "none", "threads": 1, **values}))


@pytest.fixture(scope="module")
def exported() -> ExportedSegmenter:
    segmenter = segmenter_of()
    assert isinstance(segmenter, ExportedSegmenter)
    return segmenter


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return read_image(ROOT / "docs" / "images" / "demo.png")[:480, :640]


def masks_of(segmenter: Segmenter, image: np.ndarray, groundings=GROUNDINGS) -> list:
    return segmenter.decode(segmenter.encode(image), groundings)


def test_the_embedded_export_gives_the_checkpoints_masks(exported: ExportedSegmenter, image: np.ndarray) -> None:
    reference = masks_of(segmenter_of(backend="torch"), image)
    assert all(expected.mask.any() and not expected.mask.all() for expected in reference)
    for found, expected in zip(masks_of(exported, image), reference, strict=True):
        assert found.mask.shape == (480, 640) and found.mask.dtype == bool
        assert mask_iou(found.mask, expected.mask) >= LEAST_IOU
        assert found.score == pytest.approx(expected.score, abs=SCORE_TOLERANCE)


@pytest.mark.parametrize("size_wh", [(100, 700), (33, 21)])
def test_images_of_other_sizes_give_the_checkpoints_masks_too(exported: ExportedSegmenter, size_wh) -> None:
    width, height = size_wh
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    image[height // 4 : height // 2, width // 4 : width // 2] = 240
    groundings = [Grounding([width / 4, height / 4, width / 2, height / 2])]
    (found,), (expected,) = (masks_of(s, image, groundings) for s in (exported, segmenter_of(backend="torch")))
    assert found.mask.shape == (height, width)
    assert mask_iou(found.mask, expected.mask) >= LEAST_IOU


def test_a_batch_gives_the_masks_of_one_by_one(
    exported: ExportedSegmenter, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = exported.encode(image)
    monkeypatch.setattr(exported, "_at_once", 8)
    for grounding, batched in zip(GROUNDINGS, exported.decode(features, GROUNDINGS), strict=True):
        (alone,) = exported.decode(features, [grounding])
        assert mask_iou(batched.mask, alone.mask) >= LEAST_IOU
        assert batched.score == pytest.approx(alone.score, abs=SCORE_TOLERANCE)
    assert exported.decode(features, []) == []


def test_more_groundings_than_the_decoder_takes_are_several_batches(
    exported: ExportedSegmenter, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, sizes = exported.encode(image), []
    expected = exported.decode(features, GROUNDINGS)
    run = exported._decoder.run

    def spy(inputs):
        sizes.append(len(inputs["point_coords"]))
        return run(inputs)

    monkeypatch.setattr(exported._decoder, "run", spy)
    monkeypatch.setattr(exported._decoder, "largest", {"N": 4})
    for at_once, expected_sizes in ((1, [1] * 6), (5, [4, 2]), (3, [3, 3])):
        monkeypatch.setattr(exported, "_at_once", at_once)
        for found, one in zip(exported.decode(features, GROUNDINGS), expected, strict=True):
            assert mask_iou(found.mask, one.mask) >= LEAST_IOU
        assert sizes == expected_sizes
        sizes.clear()


def test_prompts_are_points_box_and_padding_in_the_squares_pixels() -> None:
    coords, labels = prompt_points([GROUNDINGS[3], GROUNDINGS[4], GROUNDINGS[0]], (640, 480), 320)
    assert coords.dtype == np.float32 and labels.dtype == np.int32
    assert labels.tolist() == [[1, 0, 2, 3, -1], [1, -1, -10, -10, -10], [2, 3, -1, -10, -10]]
    np.testing.assert_allclose(coords[0, :4], [[235, 350 / 1.5], [175, 250 / 1.5], [170, 160], [300, 460 / 1.5]])
    np.testing.assert_allclose(coords[1, 0], [125, 200 / 1.5])


def test_the_segmenter_needs_no_torch() -> None:
    code = "import sys\nfrom reasonseg_ros.config.models import SegmenterConfig\n"
    code += "from reasonseg_ros.segmenter.loading import load_segmenter\n"
    code += "load_segmenter(SegmenterConfig(device='cpu'))\nprint('torch' in sys.modules, 'onnxruntime' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True"]


def test_the_name_says_what_runs_it(exported: ExportedSegmenter) -> None:
    assert exported.name.startswith("tabletop-segmenter (ONNX Runtime ") and exported.name.endswith("CPU)")


def backend_of(model: str, **values) -> tuple[str, Path | None]:
    config = SegmenterConfig(model=model, **{"device": "cpu", **values})
    return choose_backend(load_card(model, "segmenter"), config)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The embedded checkpoint with its export beside it."""
    return Path(shutil.copytree(CHECKPOINT, tmp_path / "sam2"))


def test_exports_run_by_onnxruntime_and_other_checkpoints_by_torch(folder: Path) -> None:
    assert backend_of(str(folder)) == ("onnxruntime", folder / BESIDE)
    assert backend_of(str(folder / BESIDE)) == ("onnxruntime", folder / BESIDE)
    assert backend_of(str(folder), backend="torch") == ("torch", None)
    assert backend_of(str(folder), backend="tensorrt") == ("tensorrt", folder / BESIDE)
    assert backend_of("sam2.1-tiny") == ("torch", None)
    shutil.rmtree(folder / BESIDE)
    assert backend_of(str(folder)) == ("torch", None)


def test_a_type_that_only_torch_knows_is_left_to_torch(folder: Path) -> None:
    assert backend_of(str(folder), dtype="bfloat16") == ("torch", None)


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt", "tensorrt_rtx"])
def test_a_checkpoint_without_export_says_how_to_make_one(backend: str) -> None:
    with pytest.raises(ModelError, match=r"sam2\.1-tiny.*reasonseg export segmenter"):
        segmenter_of(model="sam2.1-tiny", backend=backend)


def test_an_export_is_not_for_torch(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"segmenter\.backend"):
        backend_of(str(folder / BESIDE), backend="torch")


def test_an_export_of_other_weights_is_not_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert backend_of(str(folder)) == ("torch", None)
    assert "other weights" in caplog.text and "run by torch" in caplog.text
    with pytest.raises(ModelError, match="other weights"):
        backend_of(str(folder), backend="onnxruntime")


@pytest.mark.parametrize(("key", "value"), [("image_size", 256), ("multimask", True)])
def test_an_export_that_is_not_what_the_card_says_is_not_used(folder: Path, key: str, value: object) -> None:
    (folder / "card.yaml").write_text(
        yaml.safe_dump({"kind": "segmenter", "source": ".", "multimask": False, key: value})
    )
    assert backend_of(str(folder)) == ("torch", None)
    with pytest.raises(ModelError, match=r"px|multimask"):
        backend_of(str(folder), backend="onnxruntime")


def test_the_shipped_export_is_of_the_shipped_weights() -> None:
    manifest = json.loads((CHECKPOINT / BESIDE / FILE_NAME).read_text())
    assert manifest["weights_sha256"] == file_sha256(CHECKPOINT / "model.safetensors")


def test_a_damaged_export_is_named(folder: Path) -> None:
    graph = folder / BESIDE / "decoder.onnx"
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"decoder\.onnx.*export it again"):
        segmenter_of(model=str(folder))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cuda:0.*no NVIDIA GPU"):
        segmenter_of(device="cuda:0")


@pytest.mark.parametrize(("engine", "output", "stage"), [
    ("_encoder", "high_res_0", "image encoder"), ("_decoder", "masks", "mask decoder"), ("_decoder", "iou", "mask dec"),
])  # fmt: skip
def test_numbers_that_are_not_finite_are_an_error_with_their_stage(
    exported: ExportedSegmenter, image: np.ndarray, monkeypatch: pytest.MonkeyPatch,
    engine: str, output: str, stage: str,
) -> None:  # fmt: skip
    run = getattr(exported, engine).run

    def damaged(*args, **values):
        outputs = run(*args, **values)
        outputs[output].flat[-1] = np.inf
        return outputs

    monkeypatch.setattr(getattr(exported, engine), "run", damaged)
    with pytest.raises(ModelError, match=f"{stage}.*{output} holds numbers that are not finite"):
        masks_of(exported, image)


def test_weights_in_shards_are_compared_with_the_export_too(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, places = sorted(tensors), {}
    for index in range(2):
        file = f"model-0000{index + 1}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names[index::2]}, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(names[index::2], file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert backend_of(str(folder)) == ("torch", None)  # other files than the ones that were exported
    assert "other weights" in caplog.text
    manifest = folder / BESIDE / FILE_NAME
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**values, "weights_sha256": weights_sha256(folder)}))
    assert backend_of(str(folder))[0] == "onnxruntime"
    shard = folder / "model-00002-of-00002.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert backend_of(str(folder)) == ("torch", None)
    shard.unlink()
    with pytest.raises(ModelError, match=r"index\.json and its shards cannot be read: .*model-00002-of-00002"):
        backend_of(str(folder))


def test_a_broken_onnxruntime_is_an_error_and_a_missing_one_is_not(monkeypatch):
    """A signal during the import of a module in C may become an ImportError: the run must not go on with torch."""
    monkeypatch.setitem(sys.modules, "reasonseg_ros.engine.onnxruntime", None)
    assert not loading._onnxruntime_has("auto")
    monkeypatch.setitem(sys.modules, "reasonseg_ros.engine.onnxruntime", types.ModuleType("broken"))
    with pytest.raises(ModelError, match="installed but cannot be imported"):
        loading._onnxruntime_has("auto")

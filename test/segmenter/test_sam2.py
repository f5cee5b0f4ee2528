from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Sam2Model, Sam2VideoConfig, Sam2VideoModel

from reasonseg_ros.errors import ModelError, OutOfMemory
from reasonseg_ros.geometry import mask_iou, resize_logits
from reasonseg_ros.segmenter.sam2 import Sam2Segmenter, load_sam2, preprocess
from reasonseg_ros.training.segmenter.model import small_config
from reasonseg_ros.types import Grounding

CPU = torch.device("cpu")
RGB = np.random.default_rng(5).integers(0, 256, (90, 160, 3), np.uint8)
GROUNDINGS = [
    Grounding([10, 10, 60, 60], [[30, 30]]),
    Grounding([80, 20, 150, 80]),
    Grounding([5, 40, 60, 85], [[30, 60]]),
    Grounding([70, 5, 120, 50], [[90, 20], [100, 30]], [1, 0]),
    Grounding([30, 30, 31, 31], [[30, 30]], has_box=False),
]


def segmenter_of(folder: Path, multimask: bool = False, dtype: torch.dtype = torch.float32, **options) -> Sam2Segmenter:
    model = load_sam2(str(folder), device=CPU, dtype=dtype, offline=True, **options)
    return Sam2Segmenter(model, multimask=multimask, name="random")


@pytest.mark.parametrize("multimask", [False, True])
def test_a_batch_gives_the_masks_of_one_by_one_in_the_groundings_order(checkpoint: Path, multimask: bool) -> None:
    segmenter = segmenter_of(checkpoint, multimask)
    features = segmenter.encode(RGB)
    together = segmenter.decode(features, GROUNDINGS)
    assert len({m.mask.sum() for m in together}) > 1
    for grounding, batched in zip(GROUNDINGS, together, strict=True):
        (alone,) = segmenter.decode(features, [grounding])
        assert batched.mask.shape == (90, 160) and batched.mask.dtype == bool
        assert mask_iou(batched.mask, alone.mask) > 0.999
        assert batched.score == pytest.approx(alone.score, abs=1e-5)


@pytest.mark.parametrize("grounding", [GROUNDINGS[0], GROUNDINGS[4]])
def test_the_masks_are_those_of_the_librarys_own_forward(checkpoint: Path, grounding: Grounding) -> None:
    segmenter = segmenter_of(checkpoint)
    scale = np.array([64 / 160, 64 / 90])
    box = grounding.box_xyxy.reshape(2, 2) * scale
    with torch.inference_mode():
        expected = Sam2Model.from_pretrained(checkpoint)(
            pixel_values=torch.from_numpy(preprocess(RGB, 64)[None]),
            input_boxes=torch.tensor(box, dtype=torch.float32).reshape(1, 1, 4) if grounding.has_box else None,
            input_points=torch.tensor((grounding.points_xy * scale).reshape(1, 1, 1, 2), dtype=torch.float32),
            input_labels=torch.ones(1, 1, 1, dtype=torch.int32),
            multimask_output=False,
        )
    (found,) = segmenter.decode(segmenter.encode(RGB), [grounding])
    assert found.score == pytest.approx(float(expected.iou_scores), abs=1e-5)

    expected_mask = resize_logits(expected.pred_masks[0, 0, 0].numpy(), (160, 90))
    assert mask_iou(found.mask, expected_mask) > 0.999


def test_multimask_keeps_the_best_predicted_iou(checkpoint: Path) -> None:
    segmenter = segmenter_of(checkpoint, multimask=True)
    features = segmenter.encode(RGB)
    all_scores = []
    original = segmenter.model.mask_decoder.forward

    def spy(*args, **values):
        output = original(*args, **values)
        all_scores.append(output[1][0])
        return output

    segmenter.model.mask_decoder.forward = spy
    (best,) = segmenter.decode(features, GROUNDINGS[:1])
    assert all_scores[0].shape == (1, 3)
    assert best.score == pytest.approx(float(all_scores[0].max()))


def test_no_groundings_give_no_masks(checkpoint: Path) -> None:
    segmenter = segmenter_of(checkpoint)
    assert segmenter.decode(segmenter.encode(RGB), []) == []


def test_half_precision_keeps_the_masks(checkpoint: Path) -> None:
    full, half = (segmenter_of(checkpoint, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert half.model.dtype == torch.bfloat16
    masks = [s.decode(s.encode(RGB), GROUNDINGS) for s in (full, half)]
    assert np.mean([mask_iou(a.mask, b.mask) for a, b in zip(*masks, strict=True)]) > 0.9


def test_the_image_size_can_be_chosen(checkpoint: Path) -> None:
    segmenter = segmenter_of(checkpoint, size_px=128)
    features = segmenter.encode(RGB)
    assert [tuple(f.shape[-2:]) for f in features.data] == [(32, 32), (16, 16), (8, 8)]
    assert segmenter.decode(features, GROUNDINGS[:1])[0].mask.shape == (90, 160)
    with pytest.raises(ModelError, match="multiple of 32"):
        segmenter_of(checkpoint, size_px=100)


def test_a_published_video_checkpoint_loads_with_its_image_part(tmp_path: Path) -> None:
    """The checkpoints on the hub are of type sam2_video and carry the tracker's weights as well."""
    small = small_config(64)
    config = Sam2VideoConfig(
        vision_config=small.vision_config,
        prompt_encoder_config=small.prompt_encoder_config.to_dict(),
        mask_decoder_config=small.mask_decoder_config.to_dict(),
        image_size=64,
        memory_attention_hidden_size=128,
        memory_attention_feed_forward_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=32,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=128,
        mask_downsampler_embed_dim=128,
    )
    model = Sam2VideoModel(config)
    model.save_pretrained(tmp_path / "video")
    assert json.loads((tmp_path / "video" / "config.json").read_text())["model_type"] == "sam2_video"
    segmenter = segmenter_of(tmp_path / "video", multimask=True)
    torch.testing.assert_close(segmenter.model.mask_decoder.iou_token.weight, model.mask_decoder.iou_token.weight)
    assert segmenter.size_px == 64
    assert segmenter.decode(segmenter.encode(RGB), GROUNDINGS[:1])[0].mask.shape == (90, 160)


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def remove_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def garble_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "sam2", ')


def change_type(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')


def change_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["mask_decoder_config"]["mlp_dim"] = 96
    (folder / "config.json").write_text(json.dumps(config))


def add_layer(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["mask_decoder_config"]["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))


def pickle_weights(folder: Path) -> None:
    remove_weights(folder)
    torch.save({}, folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    "damage",
    [remove_weights, cut_weights, remove_config, garble_config, change_type, change_width, add_layer, pickle_weights],
)
def test_a_damaged_folder_is_named_with_the_remedy(checkpoint: Path, tmp_path: Path, damage) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(checkpoint, folder)
    damage(folder)
    with pytest.raises(ModelError) as caught:
        segmenter_of(folder)
    assert str(folder) in str(caught.value)
    assert "SAM2" in str(caught.value) or "model.safetensors" in str(caught.value)


def test_a_missing_folder_and_an_unknown_hub_id_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing is not there.*segmenter\.model"):
        segmenter_of(tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"(?s)nobody/nothing.*offline"):
        segmenter_of(Path("nobody/nothing"))


def test_memory_that_runs_out_is_said_and_the_next_call_works(checkpoint: Path) -> None:
    segmenter = segmenter_of(checkpoint)
    features = segmenter.encode(RGB)
    working = segmenter.model.mask_decoder.forward

    def greedy(*args, **values):
        raise torch.OutOfMemoryError("tried to allocate 40 GiB")

    segmenter.model.mask_decoder.forward = greedy
    with pytest.raises(OutOfMemory, match="smaller checkpoint"):
        segmenter.decode(features, GROUNDINGS)
    segmenter.model.mask_decoder.forward = lambda *args, **values: torch.empty(1 << 46)  # the CPU's own way to say it
    with pytest.raises(OutOfMemory):
        segmenter.decode(features, GROUNDINGS)
    segmenter.model.mask_decoder.forward = working
    assert len(segmenter.decode(features, GROUNDINGS)) == len(GROUNDINGS)


def test_an_error_that_is_not_about_memory_stays_what_it_is(checkpoint: Path) -> None:
    segmenter = segmenter_of(checkpoint)
    with pytest.raises(RuntimeError, match="size"):
        segmenter.decode(segmenter.encode(RGB).__class__([torch.zeros(1, 3, 5, 5)] * 3, (160, 90)), GROUNDINGS)


def test_preprocessing_squashes_and_normalises() -> None:
    rgb = np.zeros((48, 96, 3), np.uint8)
    rgb[:, 48:] = (255, 0, 0)
    pixels = preprocess(rgb, 32)
    assert pixels.shape == (3, 32, 32) and pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[:, 5, 5], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-5)
    np.testing.assert_allclose(pixels[0, 5, 28], (1 - 0.485) / 0.229, rtol=1e-5)


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize(
    ("part", "value", "stage"),
    [
        ("iou_prediction_head", float("nan"), "mask decoder: the predicted IoU"),
        ("output_hypernetworks_mlps", float("inf"), "mask decoder: the mask logits"),
        ("vision_encoder.backbone.patch_embed", float("inf"), "image encoder: feature map"),
        ("vision_encoder.neck", float("nan"), "image encoder: feature map"),
    ],
)
def test_numbers_that_are_not_finite_are_an_error_with_their_stage(
    checkpoint: Path, multimask: bool, part: str, value: float, stage: str
) -> None:
    segmenter = segmenter_of(checkpoint, multimask)
    for name, weight in segmenter.model.named_parameters():
        if part in name:
            weight.fill_(value)
    with pytest.raises(ModelError, match=f"{stage}.* not finite"):
        segmenter.decode(segmenter.encode(RGB), GROUNDINGS)

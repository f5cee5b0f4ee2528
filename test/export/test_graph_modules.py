"""The modules behind the graphs, run by torch, against the library's own forward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import EdgeTamConfig, EdgeTamModel, Sam2Model, Sam2VideoConfig, Sam2VideoModel, TimmWrapperConfig

from reasonseg_ros.engine.manifest import file_sha256
from reasonseg_ros.errors import ModelError
from reasonseg_ros.export.activation import Gelu, replace_gelu
from reasonseg_ros.export.decoder import Decoder
from reasonseg_ros.export.encoder import Encoder
from reasonseg_ros.export.layout import FeatureLayout
from reasonseg_ros.export.memory import MemoryAttention
from reasonseg_ros.export.scenes import sample_scene
from reasonseg_ros.export.sources import load_source
from reasonseg_ros.segmenter.exported import prompt_points
from reasonseg_ros.segmenter.sam2 import preprocess
from reasonseg_ros.training.segmenter.model import small_config
from test.export.conftest import randomize

SIZE_PX = 64
SCENE = sample_scene(SIZE_PX, 2)


def compare_encoders(model: torch.nn.Module, size_px: int) -> None:
    rgb = sample_scene(size_px, 2).rgb
    with torch.inference_mode():
        high_res_0, high_res_1, embed = model.get_image_embeddings(torch.from_numpy(preprocess(rgb, size_px)[None]))
        expected = FeatureLayout(model, torch.float32)(embed, high_res_0, high_res_1)
        found = Encoder(model, size_px, torch.float32)(torch.from_numpy(rgb[None]))
    for value, reference in zip(found[:3], expected, strict=True):
        np.testing.assert_allclose(value, reference, atol=1e-4)
        assert float(reference.std()) > 0.01


@pytest.mark.parametrize("size_px", [64, 160])
def test_hieras_features_are_the_librarys(size_px: int) -> None:
    model = Sam2Model(small_config(size_px)).eval()
    randomize(model, 4)
    compare_encoders(model, size_px)


def edge_tam() -> EdgeTamModel:
    pytest.importorskip("timm", reason="needs timm; run `make setup`")
    layers = {"in_chans": 3, "features_only": True, "out_indices": [1, 2, 3, 4]}
    backbone = TimmWrapperConfig(architecture="resnet10t", model_args=layers)
    config = EdgeTamConfig(
        vision_config={
            "backbone_config": backbone.to_dict(),
            "backbone_channel_list": [512, 256, 128, 64],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 64,
        },
        prompt_encoder_config={"image_size": SIZE_PX, "hidden_size": 64},
        mask_decoder_config={"hidden_size": 64, "mlp_dim": 64, "iou_head_hidden_dim": 64, "num_attention_heads": 2},
    )
    model = EdgeTamModel(config).eval()
    randomize(model, 4)
    return model


def test_edgetam_is_exported_by_the_same_modules(tmp_path: Path) -> None:
    model = edge_tam()
    compare_encoders(model, SIZE_PX)
    model.save_pretrained(tmp_path)
    checkpoint = load_source(str(tmp_path))
    assert (checkpoint.architecture, checkpoint.size_px, checkpoint.has_memory) == ("edgetam", SIZE_PX, False)
    compare_encoders(checkpoint.model, SIZE_PX)


def test_a_published_video_checkpoint_brings_its_memory_at_any_size(tmp_path: Path) -> None:
    small = small_config(SIZE_PX)
    config = Sam2VideoConfig(
        vision_config=small.vision_config,
        prompt_encoder_config={"hidden_size": 128, "image_size": SIZE_PX},
        mask_decoder_config={"hidden_size": 128, "mlp_dim": 64, "iou_head_hidden_dim": 64, "num_attention_heads": 4},
        image_size=SIZE_PX,
        memory_attention_hidden_size=128,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_num_layers=1,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128,
        mask_downsampler_embed_dim=128,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=64,
    )
    model = Sam2VideoModel(config)
    randomize(model, 4)
    model.save_pretrained(tmp_path)
    checkpoint = load_source(str(tmp_path), 96)
    assert (checkpoint.architecture, checkpoint.size_px, checkpoint.has_memory) == ("sam2", 96, True)
    assert checkpoint.weights_sha256 == file_sha256(tmp_path / "model.safetensors")
    compare_encoders(checkpoint.model, 96)
    feature, memory = torch.randn(1, 128, 6, 6), torch.randn(2, 7, 36, 64)
    slots, pointers, ages = (
        torch.tensor([[6, 0, *[-1] * 5]] * 2),
        torch.randn(2, 16, 128),
        torch.arange(16.0).tile(2, 1),
    )
    with torch.inference_mode():
        fused = MemoryAttention(checkpoint.model, 96, torch.float32)(feature, memory, slots, pointers, ages)
    assert fused.shape == (2, 36, 128) and bool(fused.isfinite().all())


def test_only_exact_gelus_are_replaced() -> None:
    module = torch.nn.Sequential(torch.nn.GELU(), torch.nn.Sequential(torch.nn.GELU("tanh"), torch.nn.GELU()))
    values = torch.linspace(-6, 6, 101)
    expected = module[1](values)
    replace_gelu(module)
    assert [type(part) for part in (module[0], *module[1])] == [Gelu, torch.nn.GELU, Gelu]
    torch.testing.assert_close(module[1](values), expected)


def test_a_pyramid_that_hands_down_to_its_finest_levels_is_refused() -> None:
    config = small_config(SIZE_PX)
    config.vision_config.fpn_top_down_levels = [1, 2, 3]
    with pytest.raises(ModelError, match=r"connections from coarser to its finest levels \(\[1, 2, 3\]\)"):
        Encoder(Sam2Model(config), SIZE_PX, torch.float32)


def test_an_unstable_single_mask_falls_back_to_the_best_of_three() -> None:
    config = small_config(SIZE_PX)
    config.mask_decoder_config.dynamic_multimask_via_stability = True
    model = Sam2Model(config).eval()
    randomize(model, 9)
    place = model.shared_image_embedding.positional_embedding
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(place)
    coords, labels = (torch.from_numpy(value) for value in prompt_points(SCENE.groundings, (64, 64), SIZE_PX))
    library, rows = model.mask_decoder, range(len(labels))
    with torch.inference_mode():
        features = model.get_image_embeddings(torch.from_numpy(preprocess(SCENE.rgb, SIZE_PX)[None]))
        inputs = []
        for points, kinds in zip(coords, labels, strict=True):
            real = kinds >= 0
            prompts = model.prompt_encoder(points[real][None, None], kinds[real][None, None], None, None)
            inputs.append((features[2], model.get_image_wide_positional_embeddings(), *prompts, False, features[:2]))
        library.dynamic_multimask_via_stability = False
        single = [library(*values)[0] for values in inputs]
        library.dynamic_multimask_via_stability = True
        stability = np.array([float(library._get_stability_scores(mask)) for mask in single])
        library.dynamic_multimask_stability_thresh = float(np.median(stability))
        expected = [library(*values) for values in inputs]
        decoder = Decoder(model, SIZE_PX, False, torch.float32)
        embed, high_res_0, high_res_1 = FeatureLayout(model, torch.float32)(features[2], features[0], features[1])
        masks, iou, score = decoder(embed.expand(len(labels), -1, -1), high_res_0, high_res_1, coords, labels)
    for row, (mask, quality, _, present) in enumerate(expected):
        np.testing.assert_allclose(masks[row], mask[0, 0], atol=1e-3)
        np.testing.assert_allclose(iou[row], quality[0, 0], atol=1e-5)
        np.testing.assert_allclose(score[row], present[0, 0], atol=1e-3)
    fallen_back = [not torch.equal(single[row], expected[row][0]) for row in rows]
    assert 0 < sum(fallen_back) < len(fallen_back), "both ways are taken"


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "sam"}')
    (tmp_path / "card.yaml").write_text("kind: segmenter\nsource: .\n")
    with pytest.raises(ModelError, match="holds a model of type 'sam'; can export sam2, sam2_video"):
        load_source(str(tmp_path))

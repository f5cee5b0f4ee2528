"""A checkpoint of the official `sam2` package with random weights, and its export."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from reasonseg_ros.engine.manifest import Manifest
from reasonseg_ros.export import official
from reasonseg_ros.export.segmenter import export_segmenter

SIZE_PX = 64
SMALL_TRUNK = {"embed_dim": 16, "stages": "[1,1,2,1]", "global_att_blocks": "[3]"}
SMALL_HIERA = {"blocks_per_stage": [1, 1, 2, 1], "global_attention_blocks": [3]}


def randomize(model: nn.Module, seed: int) -> None:
    """Weights with which masks have edges, and which are zero nowhere: a wrong sign or a lost bias is seen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1:
                weight.copy_(noise / weight[0].numel() ** 0.5)
            else:
                weight.add_(0.1 * noise)


@pytest.fixture(scope="session")
def official_model() -> Any:
    """SAM2.1 as the official package builds it, with a small image encoder."""
    pytest.importorskip("sam2", reason="needs requirements/sam2.txt; run `make setup`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package and of hydra
        from sam2.build_sam import build_sam2

        changes = [f"++model.image_encoder.trunk.{key}={value}" for key, value in SMALL_TRUNK.items()]
        changes += [f"++model.image_size={SIZE_PX}", "++model.image_encoder.neck.backbone_channel_list=[128,64,32,16]"]
        changes.append("++model.memory_attention.num_layers=1")
        torch.manual_seed(1)  # for the matrix of positions, which is no parameter
        model = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", hydra_overrides_extra=changes)
    randomize(model, 1)
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(2.0)  # nearly all objects are there
    return model.eval()


@pytest.fixture(scope="session")
def official_checkpoint(official_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("official") / "sam2.1_small.pt"
    torch.save({"model": official_model.state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def timed_export(
    official_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Manifest, list[tuple[str, float]]]:
    """The folder and manifest of all four graphs in float32, and the steps of their export with the seconds of each."""
    folder = tmp_path_factory.mktemp("exported") / "graphs"
    begun: list[tuple[str, float]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(official._HIERA, (16, 5), SMALL_HIERA)
        manifest = export_segmenter(
            str(official_checkpoint), folder, size_px=SIZE_PX,
            report=lambda step: begun.append((step, time.monotonic())),
        )  # fmt: skip
    ends = [begun_s for _, begun_s in begun[1:]] + [time.monotonic()]
    return folder, manifest, [(step, end_s - begun_s) for (step, begun_s), end_s in zip(begun, ends, strict=True)]


@pytest.fixture(scope="session")
def exported(timed_export: tuple[Path, Manifest, list[tuple[str, float]]]) -> tuple[Path, Manifest]:
    """The folder and manifest of all four graphs in float32. Not to be written to."""
    return timed_export[:2]

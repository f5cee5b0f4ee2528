"""A real SAM2 checkpoint with random weights, small enough to make in a moment."""

from pathlib import Path

import pytest
import torch
from transformers import Sam2Model

from reasonseg_ros.training.segmenter.model import small_config


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("sam2") / "random"
    model = Sam2Model(small_config(64))
    # With the initial weights all masks are nearly flat; larger ones give masks with edges.
    with torch.no_grad():
        for weight in model.mask_decoder.parameters():
            weight.mul_(3.0)
    model.save_pretrained(folder)
    return folder

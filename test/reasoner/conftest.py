"""A checkpoint with random weights in the layout of the published ones, made once for all tests here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reasonseg_ros.types import Frame

CARD = """
kind: reasoner
source: .
dialect: vision_reasoner
image_size_wh: [224, 168]
prompt: "{query}"
system: You are a helpful assistant.
max_new_tokens: 12
"""


@pytest.fixture
def frame() -> Frame:
    return Frame(np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from reasonseg_ros.training.reasoner.model import build_model, save_published
    from reasonseg_ros.training.reasoner.tokenizer import build_tokenizer

    folder = tmp_path_factory.mktemp("checkpoints") / "random-reasoner"
    torch.manual_seed(0)
    tokenizer = build_tokenizer(["find everything that is red. the mug holds coffee."] * 20, 300)
    model = build_model(tokenizer)
    save_published(folder, model, tokenizer, model.state_dict())
    (folder / "card.yaml").write_text(CARD, encoding="utf-8")
    return folder

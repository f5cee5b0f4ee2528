"""Checkpoints with random weights of several shapes, exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

SHAPES = {
    "like the embedded one": {},
    "windows and shared keys": {
        "vision_config": {"depth": 3, "fullatt_block_indexes": [1], "window_size": 56},
        "text_config": {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32},
        "mrope_section": [4, 6, 6],
    },
    "its own head, bfloat16, a penalty": {"tie_word_embeddings": False, "dtype": "bfloat16", "penalty": 1.3},
}


@pytest.fixture(scope="session", params=SHAPES)
def exported(request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an exported checkpoint."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from reasonseg_ros.reasoner.export import check
    from reasonseg_ros.reasoner.export.run import export_reasoner

    changes = SHAPES[request.param]
    folder = tmp_path_factory.mktemp("exported") / "random-reasoner"
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    for part in ("vision_config", "text_config"):
        config[part].update(changes.get(part, {}))
    if "mrope_section" in changes:
        config["text_config"]["rope_parameters"]["mrope_section"] = changes["mrope_section"]
    config["tie_word_embeddings"] = changes.get("tie_word_embeddings", True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    model = transformers.Qwen2_5_VLForConditionalGeneration(transformers.AutoConfig.from_pretrained(folder))
    with torch.no_grad():
        for parameter in model.parameters():  # large enough that its tokens differ
            parameter.mul_(6.0) if parameter.ndim > 1 else parameter.add_(0.1 * torch.randn_like(parameter))
    model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    if "penalty" in changes:
        model.generation_config.repetition_penalty = changes["penalty"]
    model.to(getattr(torch, changes.get("dtype", "float32"))).save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:  # random weights rarely end a text; the tests compare more and longer
        patch.setattr(check, "LONGEST_TOKENS", 8)
        patch.setattr(check, "QUESTIONS", ("the largest thing",))
        export_reasoner(str(folder))
    return folder

"""The local reasoner on a small random checkpoint of Qwen3.5, whose layers mix linear and full attention."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.plain_text import plain_text
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.types import Frame, Status

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
if not hasattr(transformers, "Qwen3_5ForConditionalGeneration"):
    pytest.skip("this transformers has no Qwen3.5", allow_module_level=True)


@pytest.fixture(scope="module")
def hybrid(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random checkpoint's tokenizer, template and processor with a Qwen3.5 of random weights."""
    folder = tmp_path_factory.mktemp("hybrid") / "qwen3.5-tiny"
    shutil.copytree(checkpoint, folder)
    (folder / "model.safetensors").unlink()
    known = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = {
        "vocab_size": known["text_config"]["vocab_size"], "hidden_size": 48, "intermediate_size": 64,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
        "layer_types": ["linear_attention"] * 3 + ["full_attention"],
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 1, 1], "mrope_interleaved": True,
            "partial_rotary_factor": 0.5,
        },
    }  # fmt: skip
    vision = {
        "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 48,
        "num_position_embeddings": 16, "patch_size": known["vision_config"]["patch_size"],
    }  # fmt: skip
    tokens = {name: known[name] for name in ("image_token_id", "video_token_id", "vision_start_token_id")}
    torch.manual_seed(1)
    config = transformers.Qwen3_5Config(text_config=text, vision_config=vision, **tokens)
    model = transformers.Qwen3_5ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0) if parameter.ndim > 1 else parameter
    model.generation_config = transformers.GenerationConfig.from_pretrained(checkpoint)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reasoner(hybrid: Path) -> Any:
    return load_reasoner(ReasonerConfig(model=str(hybrid), device="cpu"))


def generated(reasoner: Any, frame: Frame, question: str, tokens: int) -> str:
    """What transformers' `generate` says, asked by hand."""
    inputs, _ = reasoner._inputs_about(frame)(reasoner._words(reasoner.messages(question)))
    said = reasoner.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
    new = said[0, inputs["input_ids"].shape[1] :]
    return plain_text(reasoner.processor.tokenizer.decode(new, skip_special_tokens=True))


def test_it_is_decoded_by_generate(reasoner: Any, frame: Frame) -> None:
    assert type(reasoner.model).__name__ == "Qwen3_5ForConditionalGeneration"
    texts = {}
    for question in ("what is red", "find the mug that holds coffee"):
        answer = reasoner.answer(frame, question, Call(max_new_tokens=9))
        assert (answer.status, answer.tokens) == (Status.TRUNCATED, 9)
        assert answer.raw_text == generated(reasoner, frame, question, 9)
        texts[question] = answer.raw_text
    assert len(set(texts.values())) == 2


def test_a_prepared_image_changes_nothing(reasoner: Any, frame: Frame) -> None:
    questions = ("what is red", "find the mug that holds coffee", "what is red")
    fresh = [reasoner.answer(frame, question, Call(max_new_tokens=9)).raw_text for question in questions]
    reasoner.prepare(frame)
    assert [reasoner.answer(frame, question, Call(max_new_tokens=9)).raw_text for question in questions] == fresh


def test_it_streams_and_stops(reasoner: Any, frame: Frame) -> None:
    heard: list[int] = []
    stopped = reasoner.answer(
        frame, "a", Call(on_text=lambda _, tokens: heard.append(tokens), cancelled=lambda: len(heard) == 3)
    )
    assert (stopped.status, stopped.tokens, heard) == (Status.CANCELLED, 3, [1, 2, 3])

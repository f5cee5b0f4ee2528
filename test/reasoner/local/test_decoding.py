"""The fast decoder against transformers' `generate`, token by token, on random weights of all relevant shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.reasoner.loading import load_reasoner

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
decoding = pytest.importorskip("reasonseg_ros.reasoner.local.decoding")
generation = pytest.importorskip("reasonseg_ros.reasoner.local.generation")

IMAGE, VISION_START, PAD = 90, 88, 0
VOCABULARY = 100


def small(kind: str, seed: int = 0, device: str = "cpu", **text: Any) -> Any:
    """A model with random weights that are large enough to give different tokens."""
    torch.manual_seed(seed)
    text_config = {
        "vocab_size": VOCABULARY, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 2048, "head_dim": 8,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 1, 1]},
        **text,
    }  # fmt: skip
    vision_config = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 48}
    tokens = {"image_token_id": IMAGE, "vision_start_token_id": VISION_START, "video_token_id": 91}
    if kind == "qwen2.5":
        vision_config["fullatt_block_indexes"] = [1]
        config = transformers.Qwen2_5_VLConfig(text_config=text_config, vision_config=vision_config, **tokens)
        model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    else:
        vision_config |= {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 16}
        config = transformers.Qwen3VLConfig(text_config=text_config, vision_config=vision_config, **tokens)
        model = transformers.Qwen3VLForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8.0) if parameter.ndim > 1 else parameter.add_(0.1 * torch.randn_like(parameter))
    model.generation_config.eos_token_id = [7, 8]
    model.generation_config.pad_token_id = PAD
    return model.to(device).eval()


def prompts(model: Any, *questions: list[int], seed: int = 0) -> dict[str, Any]:
    """What the processor would give for a chat with an image of 8 x 4 patches, a row a question."""
    torch.manual_seed(seed)
    chats = [[1, 2, VISION_START, *[IMAGE] * 8, 89, *question] for question in questions]
    longest = max(map(len, chats))
    tokens = torch.tensor([[PAD] * (longest - len(chat)) + chat for chat in chats])
    mask = torch.tensor([[0] * (longest - len(chat)) + [1] * len(chat) for chat in chats])
    vision = model.config.vision_config
    pixels = torch.randn(32 * len(chats), 3 * vision.temporal_patch_size * vision.patch_size**2)
    inputs = {
        "input_ids": tokens,
        "attention_mask": mask,
        "mm_token_type_ids": (tokens == IMAGE).int(),
        "pixel_values": pixels,
        "image_grid_thw": torch.tensor([[1, 4, 8]] * len(chats)),
    }
    return {name: value.to(model.device) for name, value in inputs.items()}


def ever(rows: list[list[int]]) -> bool:
    return True


def same(model: Any, inputs: dict[str, Any], max_new_tokens: int = 40) -> list[list[int]]:
    expected = generation.PlainDecoder(model).decode(inputs, max_new_tokens, ever)
    rows = decoding.FastDecoder(model).decode(inputs, max_new_tokens, ever)
    assert rows == expected
    for row, wanted in zip(rows, expected, strict=True):
        assert len(row.entropies_nats) == len(row.tokens)
        np.testing.assert_allclose(row.entropies_nats, wanted.entropies_nats, rtol=0, atol=2e-3)
    return [row.tokens for row in rows]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["qwen2.5", "qwen3"])
def test_tokens_are_those_of_generate(kind: str, seed: int) -> None:
    model = small(kind, seed)
    assert decoding.unsuited(model) == ""
    (row,) = same(model, prompts(model, [20 + seed, 21, 22]))
    assert len(set(row)) > 3


def test_tokens_of_the_embedded_checkpoint_are_those_of_generate() -> None:
    reasoner = load_reasoner(ReasonerConfig(backend="local", device="cpu"))
    image = np.random.default_rng(0).integers(0, 255, (168, 224, 3), np.uint8)
    words = [
        reasoner._words(reasoner.messages(question))
        for question in ("the red mug", "something to drink from", "the two leftmost fruits")
    ]
    for word in words:
        same(reasoner.model, reasoner._inputs([word], [image])[0])
    same(reasoner.model, reasoner._inputs(words, [image] * 3)[0])


def test_entropies_are_those_of_the_distributions_that_generate_chose_from() -> None:
    model = small("qwen2.5")
    inputs = prompts(model, [20, 21, 22])
    output = model.generate(
        **inputs, max_new_tokens=12, output_logits=True, return_dict_in_generate=True, do_sample=False
    )
    expected = [float(scipy.stats.entropy(logits[0].double().softmax(-1).numpy())) for logits in output.logits]
    (row,) = decoding.FastDecoder(model).decode(inputs, 12, ever)
    np.testing.assert_allclose(row.entropies_nats, expected[: len(row.tokens)], rtol=0, atol=1e-4)
    assert min(expected) > 0.1


@pytest.mark.parametrize("kind", ["qwen2.5", "qwen3"])
def test_rows_of_different_length_go_together(kind: str) -> None:
    model = small(kind)
    inputs = prompts(model, [20], [30, 31, 32, 33, 34], [40, 41])
    rows = same(model, inputs)
    for index, row in enumerate(rows):
        seen = inputs["attention_mask"][index].bool()
        by_token = ("input_ids", "attention_mask", "mm_token_type_ids")
        alone = {name: inputs[name][index : index + 1, seen] for name in by_token}
        alone["image_grid_thw"] = inputs["image_grid_thw"][:1]
        alone["pixel_values"] = inputs["pixel_values"][32 * index : 32 * index + 32]
        assert decoding.FastDecoder(model).decode(alone, 40, ever)[0].tokens == row


def test_memory_grows_while_a_row_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasonseg_ros.reasoner.local.decoding_step._BLOCK", 16)
    model = small("qwen2.5")
    model.generation_config.repetition_penalty = 1.3
    (row,) = same(model, prompts(model, [20, 21]), 60)
    assert len(row) > 20


def test_the_repetition_penalty_of_a_checkpoint_holds() -> None:
    model = small("qwen2.5")
    inputs = prompts(model, [20, 21])
    before = same(model, inputs)
    model.generation_config.repetition_penalty = 1.5
    assert same(model, inputs) != before


def test_one_decoder_serves_prompts_of_every_size() -> None:
    model = small("qwen3")
    plain, fast = generation.PlainDecoder(model), decoding.FastDecoder(model)
    for questions in ([[20]], [[30] * 50], [[40], [41, 42]], [[50, 51]]):
        inputs = prompts(model, *questions)
        assert fast.decode(inputs, 12, ever) == plain.decode(inputs, 12, ever)


def test_after_memory_ran_out_the_next_prompt_is_decoded_rightly(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("qwen2.5")
    fast = decoding.FastDecoder(model)
    one, two = prompts(model, [20]), prompts(model, [30], [31, 32])
    expected = generation.PlainDecoder(model).decode(two, 12, ever)
    fast.decode(one, 12, ever)

    def full(rows: int, capacity: int, like: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(fast._step._layers[1], "allocate", full)
        with pytest.raises(torch.OutOfMemoryError):
            fast.decode(two, 12, ever)
    assert fast.decode(two, 12, ever) == expected


def test_it_stops_on_request_and_at_the_end_token() -> None:
    model = small("qwen2.5")
    fast = decoding.FastDecoder(model)
    inputs = prompts(model, [20, 21])
    row = fast.decode(inputs, 40, ever)[0].tokens
    assert fast.decode(inputs, 40, lambda rows: len(rows[0]) < 5)[0].tokens == row[:5]
    assert fast.decode(inputs, 3, ever)[0].tokens == row[:3]
    model.generation_config.eos_token_id = row[4]
    (ended,) = same(model, inputs)
    assert ended == row[: row.index(row[4]) + 1]


@pytest.mark.parametrize("kind", ["qwen2.5", "qwen3"])
def test_a_prompt_continues_from_another_that_begins_alike(kind: str) -> None:
    model = small(kind)
    fast = decoding.FastDecoder(model)
    known = fast.prefill(prompts(model, [20, 21, 22, 23]))
    for question in ([20, 21, 50, 51, 52], [60], [20, 21, 22, 23], [20, 21, 22, 23, 24]):
        expected = prompts(model, question)
        tokens = expected["input_ids"][0].tolist()
        shared = 12 + (2 if question[0] == 20 else 0)
        prompt = fast.extended(known, shared, tokens[shared:])
        assert prompt.tokens.tolist() == [tokens]
        assert fast.continued(prompt, 30, ever) == generation.PlainDecoder(model).decode(expected, 30, ever)
        again = fast.extended(prompt, len(tokens) - 1, tokens[-1:])
        torch.testing.assert_close(again.logits, prompt.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: model.set_attn_implementation("eager"), "attention is eager"),
        (lambda model: setattr(model.generation_config, "no_repeat_ngram_size", 2), "no_repeat_ngram_size"),
        (lambda model: setattr(model.generation_config, "suppress_tokens", [3]), "suppress_tokens"),
        (lambda model: model.config.text_config.rope_parameters.update(rope_type="yarn"), "positions are yarn"),
        (lambda model: model.config.text_config.layer_types.__setitem__(0, "sliding_attention"), "sliding-window"),
        (
            lambda model: setattr(
                model.model.language_model.layers[1].mlp, "up_proj", torch.nn.LazyLinear(64, bias=False)
            ),
            "quantized or adapted",
        ),
    ],
)
def test_what_is_not_known_to_be_equal_is_named(change: Any, reason: str) -> None:
    model = small("qwen2.5")
    change(model)
    assert reason in decoding.unsuited(model)


def test_another_architecture_is_named() -> None:
    assert decoding.unsuited(torch.nn.Linear(1, 1)) == "it is a Linear"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["qwen2.5", "qwen3"])
def test_a_graph_on_the_gpu_gives_the_same_tokens(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reasonseg_ros.reasoner.local.decoding_step._BLOCK", 16)
    model = small(kind, device="cuda")
    model.generation_config.repetition_penalty = 1.2
    same(model, prompts(model, [20, 21, 22]), 60)
    same(model, prompts(model, [20], [30, 31, 32]))


@pytest.mark.parametrize("kind", ["qwen2.5", "qwen3"])
def test_the_step_that_a_graph_captures_gives_the_same_tokens(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The masked step over the whole buffers, run without capture if there is no GPU."""
    monkeypatch.setattr("reasonseg_ros.reasoner.local.decoding_step._BLOCK", 16)
    model = small(kind)
    model.generation_config.repetition_penalty = 1.2
    fast = decoding.FastDecoder(model)
    step = fast._step

    class Graph:
        def replay(self) -> None:
            step._graph_next = step._run(step._graph_tokens, step._capacity)

    def capture(rows: int) -> None:
        step._graph, step._graph_tokens = Graph(), torch.zeros(1, dtype=torch.long)

    monkeypatch.setattr(step, "_graphed", True)
    monkeypatch.setattr(step, "_capture", capture)
    inputs = prompts(model, [20, 21, 22])
    assert fast.decode(inputs, 40, ever) == generation.PlainDecoder(model).decode(inputs, 40, ever)

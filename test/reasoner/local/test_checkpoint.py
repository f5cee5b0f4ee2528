"""Checks of a checkpoint from outside while it is loaded, on one with random weights."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ModelError
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.chat import template_trial
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.types import Frame, Status

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from safetensors.torch import load_file, save_file  # noqa: E402

END, TEXT_END = "<|im_end|>", "<|endoftext|>"
Change = Callable[[Path], None]


def edit(name: str, **values: Any) -> Change:
    """Set keys of a JSON file; None removes one."""

    def change(folder: Path) -> None:
        path = folder / name
        content = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return change


def template(place: str, change: Callable[[str], str] = lambda text: text) -> Change:
    """Move the chat template to another file."""

    def move(folder: Path) -> None:
        text = change((folder / "chat_template.jinja").read_text())
        (folder / "chat_template.jinja").unlink()
        if place.endswith(".jinja"):
            (folder / place).write_text(text)
        elif place:
            path = folder / place
            values = json.loads(path.read_text()) if path.is_file() else {}
            path.write_text(json.dumps({**values, "chat_template": text}))

    return move


def processor(**values: Any) -> Change:
    """The published Qwen2.5-VL's preprocessor_config.json, with these pixels."""

    def change(folder: Path) -> None:
        settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
        (folder / "processor_config.json").unlink()
        del settings["size"]
        settings |= {"processor_class": "Qwen2_5_VLProcessor", **values}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))

    return change


def weights(change: Callable[[dict[str, Any]], None], shards: int = 1, lost: int = -1, cut: int = -1) -> Change:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        if shards == 1:
            save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
            return
        (folder / "model.safetensors").unlink()
        places = {}
        for index in range(shards):
            name = f"model-{index + 1:05d}-of-{shards:05d}.safetensors"
            part = {key: tensors[key] for key in sorted(tensors)[index::shards]}
            places |= dict.fromkeys(part, name)
            save_file(part, folder / name, metadata={"format": "pt"})
            if index == cut:
                (folder / name).write_bytes((folder / name).read_bytes()[:5000])
            if index == lost:
                (folder / name).unlink()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))

    return rewrite


def nothing(_: Any) -> None:
    pass


def reshape(tensors: dict[str, Any]) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"][:5].clone()


def spoil(tensors: dict[str, Any]) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * float("nan")


def split(folder: Path) -> None:
    """Two shards; the whole file stays."""
    whole = (folder / "model.safetensors").read_bytes()
    weights(nothing, shards=2)(folder)
    (folder / "model.safetensors").write_bytes(whole)


def repeated(folder: Path) -> None:
    """One weight is in both shards, with different values."""
    weights(nothing, shards=2)(folder)
    first, second = sorted(folder.glob("model-*.safetensors"))
    name, tensor = next(iter(load_file(first).items()))
    save_file(load_file(second) | {name: tensor * 2}, second, metadata={"format": "pt"})


def in_whole_numbers(tensors: dict[str, Any]) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int8)


def second_head(tensors: dict[str, Any]) -> None:
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] * 2


@pytest.fixture
def changed(checkpoint: Path, tmp_path: Path) -> Callable[[Change], Any]:
    """Load the checkpoint after a change to its folder."""

    def load(change: Change) -> Any:
        folder = tmp_path / "changed"
        shutil.copytree(checkpoint, folder)
        change(folder)
        return load_reasoner(ReasonerConfig(model=str(folder), device="cpu"))

    return load


@pytest.fixture(scope="module")
def said(checkpoint: Path) -> str:
    return _say(load_reasoner(ReasonerConfig(model=str(checkpoint), device="cpu")))


def _say(reasoner: Any) -> str:
    return reasoner._words(reasoner.messages("what is red"))


@pytest.mark.parametrize(
    "place",
    ["chat_template.jinja", "chat_template.json", "tokenizer_config.json", "processor_config.json"],
)
def test_a_chat_template_is_found_wherever_it_lies(changed: Any, said: str, place: str) -> None:
    assert _say(changed(template(place))) == said


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (template(""), "no chat template in chat_template.jinja, chat_template.json, processor_config.json or"),
        (template("other.jinja"), "no chat template"),
        (template("chat_template.jinja", lambda text: text.replace("<|image_pad|>", "")), "0 times for one image"),
        (template("chat_template.jinja", lambda text: text.replace("content['text']", "'?'")), "question 0 times"),
        (template("chat_template.jinja", lambda text: text.replace("add_generation_prompt", "false")), "not begin"),
        (template("chat_template.jinja", lambda text: text + "{% if %}"), "chat template fails: TemplateSyntaxError"),
        (template("chat_template.jinja", lambda text: text + "{{ raise_exception('no') }}"), "template fails"),
        (template("chat_template.jinja", lambda text: text + "{{ 1 // 0 }}"), "fails: ZeroDivisionError"),
        (template("chat_template.jinja", lambda text: text + "{{ range(10 ** 9) }}"), "fails: OverflowError"),
    ],
)
def test_a_chat_template_that_cannot_ask_is_reported_while_loading(changed: Any, change: Change, reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as reported:
        changed(change)
    assert "\n" not in str(reported.value)


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", template_trial.SECONDS),
        ("{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}", 1),
        ("{{ 'x' * 99999999999 }}", 1),
        (
            "{% if messages[-1].role == 'assistant' %}{% for i in range(99999) %}{% for j in range(99999) %}"
            "{% endfor %}{% endfor %}{% endif %}",
            1,
        ),
        ("{% set n = namespace(x=10) %}{% for i in range(40) %}{% set n.x = n.x * n.x %}{% endfor %}", 1),
    ],
    ids=["time", "text", "memory", "later", "digits"],
)
def test_a_chat_template_without_end_is_stopped(
    changed: Any, monkeypatch: pytest.MonkeyPatch, work: str, seconds: int
) -> None:
    monkeypatch.setattr(template_trial, "SECONDS", seconds)
    begin_s = time.monotonic()
    with pytest.raises(ModelError, match=rf"chat template needs more than {seconds} s or 1024 MB"):
        changed(template("chat_template.jinja", lambda text: work + text))
    assert time.monotonic() - begin_s < 60


@pytest.mark.parametrize(
    ("change", "pixels"),
    [
        (processor(min_pixels=3136, max_pixels=50_000), (3136, 50_000)),
        (processor(size={"min_pixels": 3136, "max_pixels": 50_000}), (3136, 50_000)),
        (processor(size={"shortest_edge": 3136, "longest_edge": 50_000}), (3136, 50_000)),
        (processor(size={"shortest_edge": 1, "longest_edge": 2}, min_pixels=3136, max_pixels=50_000), (3136, 50_000)),
        (processor(), (3136, 1_003_520)),
    ],
)
def test_a_processors_pixels_are_read_in_either_notation(
    changed: Any, frame: Frame, change: Change, pixels: tuple[int, int]
) -> None:
    reasoner = changed(change)
    size = reasoner.processor.image_processor.size
    assert (size["shortest_edge"], size["longest_edge"]) == pixels
    assert reasoner.answer(frame, "what is red", Call(max_new_tokens=2)).tokens == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (processor(min_pixels=50_000, max_pixels=3136), "50000 to 3136 pixels"),
        (processor(min_pixels=-1, max_pixels=50_000), "-1 to 50000 pixels"),
        (processor(size={"height": 224, "width": 224}), "expected shortest_edge and longest_edge"),
        (processor(min_pixels=3136, max_pixels=10_000), "squashes images to 224x168 pixels.* allow 3136 to 10000"),
    ],
)
def test_a_processors_pixels_that_cannot_be_right_are_reported(changed: Any, change: Change, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        changed(change)


def ends_of(reasoner: Any) -> set[str]:
    return set(reasoner.processor.tokenizer.convert_ids_to_tokens(sorted(reasoner._ends)))


@pytest.mark.parametrize(
    ("eos", "ends", "is_reported"),
    [
        ([END], {END}, False),
        ([END, TEXT_END], {END, TEXT_END}, False),
        ([TEXT_END], {END, TEXT_END}, True),
        (None, {END}, True),
    ],
)
def test_answers_end_where_tokenizer_and_template_end_them(
    changed: Any, checkpoint: Path, caplog: Any, eos: list[str] | None, ends: set[str], is_reported: bool
) -> None:
    tokenizer = load_reasoner(ReasonerConfig(model=str(checkpoint), device="cpu")).processor.tokenizer
    numbers = eos and tokenizer.convert_tokens_to_ids(eos)

    def change(folder: Path) -> None:
        edit("generation_config.json", eos_token_id=numbers)(folder)
        if eos is None:
            settings = json.loads((folder / "config.json").read_text())
            settings["text_config"].pop("eos_token_id", None)
            (folder / "config.json").write_text(json.dumps(settings))

    with caplog.at_level(logging.WARNING, "reasonseg_ros"):
        assert ends_of(changed(change)) == ends
    assert ("end answers at" in caplog.text) == is_reported


@pytest.mark.parametrize("number", [5, 10**6])
def test_an_end_token_that_is_an_ordinary_one_is_refused(changed: Any, number: int) -> None:
    with pytest.raises(ModelError, match=f"eos_token_id {number} is .*no special token.*<.im_end.>.*generation_config"):
        changed(edit("generation_config.json", eos_token_id=number))


def test_weights_in_shards_are_those_of_one_file(changed: Any, frame: Frame, checkpoint: Path) -> None:
    whole = load_reasoner(ReasonerConfig(model=str(checkpoint), device="cpu"))
    parts = changed(weights(nothing, shards=3))
    texts = [one.answer(frame, "what is red", Call(max_new_tokens=7)).raw_text for one in (whole, parts)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (weights(nothing, shards=3, lost=1), "model-00002-of-00003.safetensors"),
        (weights(nothing, shards=3, cut=2), "incomplete metadata|not fully covered"),
        (weights(lambda tensors: tensors.pop("model.norm.weight"), shards=2), "1 weights are missing, .*norm.weight"),
        (weights(lambda tensors: tensors.pop("visual.patch_embed.proj.weight")), "1 weights are missing, .*patch_em"),
        (weights(lambda tensors: tensors.update(extra=tensors["model.norm.weight"].clone())), "1 weights are unknown"),
        (weights(reshape), "shape|size"),
        (weights(spoil), "cannot answer: reasoning: the model's logits are not finite"),
        (edit("config.json", tie_word_embeddings=False), "1 weights are missing, lm_head.weight"),
        (split, "has two sets of weights, model.safetensors and model-00001-of-00002.safetensors of .*remove one"),
        (repeated, r"is in model-00001-of-00002.safetensors and in model-00002-of-00002.safetensors"),
        (weights(in_whole_numbers), "model.norm.weight in .* has numbers of type I8, and config.json no quantization"),
        (weights(second_head), "config.json sets tie_word_embeddings, and lm_head.weight differs from the embedding"),
        (processor(image_processor_type="CLIPImageProcessor"), "its image processor is a CLIPImageProcessor.*, not"),
        (edit("config.json", image_token_id=5), "cannot answer: .*[Ii]mage"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "adapter.*merge it"),
        (lambda folder: (folder / "config.json").write_text("[" * 100_000), "config.json .*nested deeper"),
    ],
)
def test_weights_that_are_not_the_architectures_are_reported(changed: Any, change: Change, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        changed(change)


def test_a_head_that_equals_the_embedding_it_is_tied_to_is_loaded(changed: Any, said: str) -> None:
    def copy_head(tensors: dict[str, Any]) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    reasoner = changed(weights(copy_head))
    assert _say(reasoner) == said


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_logits_that_are_not_finite_are_a_failure_with_its_stage(
    checkpoint: Path, frame: Frame, attention: str
) -> None:
    reasoner = load_reasoner(ReasonerConfig(model=str(checkpoint), device="cpu", attention=attention))
    good = reasoner.answer(frame, "what is red", Call(max_new_tokens=3))
    head = reasoner.model.get_output_embeddings().weight
    with torch.no_grad():
        kept = head.clone()
        head[-1] = float("inf")
    bad = reasoner.answer(frame, "what is blue", Call(max_new_tokens=3))
    assert (bad.status, bad.error[:36]) == (Status.FAILED, "reasoning: the model's logits are no")
    batch = reasoner.answer_batch([frame, frame], ["what is red", "what is blue"])
    assert {answer.status for answer in batch} == {Status.FAILED}
    with torch.no_grad():
        head.copy_(kept)
    assert reasoner.answer(frame, "what is red", Call(max_new_tokens=3)).raw_text == good.raw_text

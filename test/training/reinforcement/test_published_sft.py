"""Supervised training through TRL, on the shipped checkpoint as a stand-in for a published one."""

import json
import re
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from reasonseg_ros.cli import main
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.resources import resource
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.training.reinforcement.plan import RunPlan
from reasonseg_ros.training.reinforcement.supervised import response_text
from reasonseg_ros.training.rows import TrainingRow, TrueTarget
from reasonseg_ros.training.scene_rows import write_scene_rows

pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("trl")
sft = pytest.importorskip("reasonseg_ros.training.reinforcement.published_sft")
MODEL = resource("models/tabletop/reasoner")
TARGET = TrueTarget((84, 168, 419, 503), ((200, 300), (210, 310)))


@pytest.fixture
def rows(scene_folder, tmp_path):
    write_scene_rows(scene_folder, tmp_path / "rows", 4, "train", 0)
    return tmp_path / "rows"


def first_loss(plan):
    """Mean cross entropy of the answer's tokens of the only row, by transformers alone."""
    card = load_card(str(MODEL), "reasoner")
    (entry,) = sft.supervised_dataset(plan, card)
    processor = AutoProcessor.from_pretrained(MODEL)
    model = AutoModelForImageTextToText.from_pretrained(MODEL).float()
    user = [{"type": "image"}, {"type": "text", "text": entry["prompt"][-1]["content"]}]
    said = [{"type": "text", "text": entry["completion"][0]["content"]}]
    chat = [{"role": "user", "content": user}, {"role": "assistant", "content": said}]
    prompt = processor.apply_chat_template(chat[:1], add_generation_prompt=True, tokenize=False)
    whole = processor.apply_chat_template(chat, tokenize=False)
    assert whole.startswith(prompt)
    inputs, asked = (processor(text=[text], images=entry["images"], return_tensors="pt") for text in (whole, prompt))
    start = asked["input_ids"].shape[1]
    with torch.no_grad():
        logits = model(**inputs).logits[0, start - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, inputs["input_ids"][0, start:]).item()


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_the_loss_is_that_of_the_answers_tokens_and_steps_lower_it(rows, tmp_path, lora_rank):
    first = (rows / "rows.jsonl").read_text().splitlines()[0]
    (rows / "rows.jsonl").write_text(first + "\n")
    plan = RunPlan(
        MODEL, rows, tmp_path / "run", engine="trl", steps=3, prompts=1, save_every=3, lora_rank=lora_rank, rate=1e-3
    )
    sft.run_published_sft(plan)
    log = json.loads((plan.out / "checkpoint-3" / "trainer_state.json").read_text())["log_history"]
    losses = [line["loss"] for line in log if "loss" in line]
    assert losses[0] == pytest.approx(first_loss(plan), rel=2e-3)
    assert losses[2] < losses[0]
    first, tuned = (load_card(str(folder), "reasoner") for folder in (MODEL, plan.out / "checkpoint"))
    assert (tuned.prompt, tuned.image_size_wh, tuned.dialect) == (first.prompt, first.image_size_wh, first.dialect)
    before, after = (
        AutoModelForImageTextToText.from_pretrained(folder).float().state_dict()
        for folder in (MODEL, plan.out / "checkpoint")
    )
    assert set(before) == set(after)
    assert any(not torch.equal(before[name], after[name]) for name in before if "language_model" in name)


def test_the_verb_trains_the_embedded_model_too(rows, tmp_path, capsys):
    arguments = ["train", "sft", "--rows", str(rows), "--out", str(tmp_path / "run"), "--steps", "1", "--prompts", "2"]
    assert main([*arguments, "--model", str(MODEL), "--threads", "2"]) in (0, None)
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").is_file()
    tuned = load_card(str(tmp_path / "run" / "checkpoint"), "reasoner")
    assert (tuned.prompt, tuned.image_size_wh) == ("{query}", (224, 168))
    assert main([*arguments, "--engine", "other"]) != 0
    assert "engine 'other'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "size_wh"), [("vision-reasoner-7b", (840, 840)), ("seg-zero-7b", (420, 840))])
def test_answers_are_read_back_by_the_cards_dialect(name, size_wh):
    card = replace(load_card(name, "reasoner"), image_size_wh=size_wh)
    text = sft.answer_text(TrainingRow("1", "a.png", "a mug", (TARGET,), "It is red."), card)
    assert text.startswith("<think>It is red.</think><answer>")
    answer = parse_answer(text, size_wh, dialect=card.dialect, answer_wh=size_wh)
    assert answer.thought == "It is red." and not answer.error
    (grounding,) = answer.groundings
    scale = size_wh[0] / 840
    assert list(grounding.box_xyxy) == pytest.approx([84 * scale, 168, 419 * scale, 503], abs=0.51)
    assert list(grounding.points_xy[0]) == pytest.approx([200 * scale, 300], abs=0.51)


def test_the_embedded_model_is_taught_its_way_of_writing():
    row = TrainingRow("1", "a.png", "a mug", (TARGET, TARGET), "two mugs.")
    shape = re.sub(r"\d+", "0", sft.answer_text(row, load_card("tabletop-reasoner", "reasoner")))
    assert shape == re.sub(r"\d+", "0", response_text(row))


def test_nothing_fits_is_an_empty_list_and_without_a_thought_there_are_no_tags():
    card = load_card("vision-reasoner-7b", "reasoner")
    assert sft.answer_text(TrainingRow("1", "a.png", "a mug", ()), card) == "<answer>[]</answer>"


@pytest.mark.parametrize(
    ("card", "row", "words"),
    [
        ("qwen2.5-vl-3b", TrainingRow("1", "a.png", "a mug", (TARGET,)), "dialect qwen2.5-vl"),
        ("seg-zero-7b", TrainingRow("1", "a.png", "a mug", ()), "row '1' has 0 targets"),
        ("seg-zero-7b", TrainingRow("1", "a.png", "a mug", (TrueTarget((0, 0, 9, 9), ((1, 1),)),)), r"\[1\] points"),
    ],
)  # fmt: skip
def test_what_has_no_answer_text_is_refused(card, row, words):
    with pytest.raises(InvalidInput, match=words):
        sft.answer_text(row, load_card(card, "reasoner"))


@pytest.mark.parametrize(("name", "processes", "kind"), [("1_gpu", 1, "NO"), ("8_gpus", 8, "DEEPSPEED")])
def test_the_configurations_for_gpus_are_accelerates(name, processes, kind):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(resource(f"config/training/{name}.yaml")))
    assert (config.num_processes, config.distributed_type, config.mixed_precision) == (processes, kind, "bf16")
    if kind == "DEEPSPEED":
        assert config.deepspeed_config["zero_stage"] == 2

"""GRPO of the shipped checkpoint, for a few steps."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.resources import resource
from reasonseg_ros.images.files import read_image
from reasonseg_ros.training.reinforcement.embedded import EmbeddedGrpo, run_embedded
from reasonseg_ros.training.reinforcement.plan import GrpoPlan
from reasonseg_ros.training.reinforcement.policy import EmbeddedPolicy, QuestionBatch
from reasonseg_ros.training.rows import read_rows
from reasonseg_ros.training.scene_rows import write_scene_rows

pytest.importorskip("tensorboard")
pytest.importorskip("matplotlib")
MODEL = resource("models/tabletop/reasoner")


@pytest.fixture(scope="module")
def row_folder(scene_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_scene_rows(scene_folder, folder, 12, "train", 0)
    return folder


@pytest.fixture(scope="module")
def policy():
    return EmbeddedPolicy(MODEL)


@pytest.fixture(scope="module")
def asked(row_folder):
    rows = read_rows(row_folder)[:3]
    return QuestionBatch([[read_image(row_folder / row.image)] for row in rows], [row.question for row in rows])


def plan_of(row_folder, out):
    return GrpoPlan(
        MODEL, row_folder, out, dev_rows=row_folder, steps=4, prompts=3, group=4, save_every=2,
        measure_every=2, measured=1,
    )  # fmt: skip


@pytest.fixture
def plan(row_folder, tmp_path):
    return plan_of(row_folder, tmp_path / "run")


@pytest.fixture(scope="module")
def whole(row_folder, tmp_path_factory):
    """A run that was not stopped."""
    plan = plan_of(row_folder, tmp_path_factory.mktemp("whole") / "run")
    run_embedded(plan)
    return plan


def curve(folder):
    lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in ("seconds", "cpu_s", "memory_mb")} for line in lines
    ]


def test_samples_follow_the_seed_and_differ_within_a_group(policy, asked):
    first, again, other = (policy.sampled(asked, 4, 1.0, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert any(len({tuple(row) for row in group}) > 1 for group in first)


def test_temperature_0_gives_the_tokens_of_generate(policy, asked):
    from PIL import Image

    from reasonseg_ros.reasoner.chat.prompts import normalise_question
    from reasonseg_ros.reasoner.image_size import resize_rgb
    from reasonseg_ros.training.reasoner.model import IMAGE_WH

    for (rgb,), question, (said,) in zip(asked.images, asked.questions, policy.sampled(asked, 1, 0.0, 0), strict=True):
        content = [{"type": "image"}, {"type": "text", "text": normalise_question(question)}]
        chat = [{"role": "user", "content": content}]
        prompt = policy.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        image = Image.fromarray(resize_rgb(np.ascontiguousarray(rgb), IMAGE_WH))
        inputs = policy.processor(text=[prompt], images=[image], return_tensors="pt")
        output = policy.model.generate(**inputs, max_new_tokens=160, do_sample=False)
        assert said == output[0, inputs["input_ids"].shape[1] :].tolist()


def test_log_probabilities_are_those_of_transformers(policy, asked):
    from PIL import Image

    from reasonseg_ros.reasoner.chat.prompts import normalise_question
    from reasonseg_ros.reasoner.image_size import resize_rgb
    from reasonseg_ros.training.reasoner.model import IMAGE_WH

    answers = policy.sampled(asked, 2, 1.0, 3)
    with torch.no_grad():
        ours, entropies, owner = policy.log_probabilities(asked, answers)
    assert torch.bincount(owner).tolist() == [len(row) for group in answers for row in group]
    number = 0
    for (rgb,), question, group in zip(asked.images, asked.questions, answers, strict=True):
        content = [{"type": "image"}, {"type": "text", "text": normalise_question(question)}]
        chat = [{"role": "user", "content": content}]
        prompt = policy.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        image = Image.fromarray(resize_rgb(np.ascontiguousarray(rgb), IMAGE_WH))
        for row in group:
            inputs = policy.processor(text=[prompt + policy.processor.tokenizer.decode(row)], images=[image],
                                      return_tensors="pt")  # fmt: skip
            start = inputs["input_ids"].shape[1] - len(row)
            if inputs["input_ids"][0, start:].tolist() == row:  # a sample may be another splitting of its text
                with torch.no_grad():
                    logits = policy.model(**inputs).logits[0, start - 1 : -1].log_softmax(-1)
                theirs = logits.gather(1, torch.tensor(row)[:, None])[:, 0]
                torch.testing.assert_close(ours[owner == number], theirs, atol=2e-3, rtol=0)
                torch.testing.assert_close(
                    entropies[owner == number], -(logits.exp() * logits).sum(-1), atol=5e-3, rtol=0
                )
            number += 1


def test_a_resumed_run_makes_the_same_curve_and_weights(plan, whole):
    assert any("kl" in line for line in curve(whole.out)), "no step has changed the weights"
    run = EmbeddedGrpo(plan)
    for _ in range(2):
        values = run.advance()
        run.progress.add(run.step, values | (run.measure() if run.step == 2 else {}))
    run.save()
    run.progress.add(3, run.advance())  # lost, as the run is killed before it is saved
    with (plan.out / "progress.jsonl").open("a") as file:
        file.write('{"step": 4, "rew')
    run_embedded(plan)
    assert curve(plan.out) == curve(whole.out)
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (plan.out, whole.out)]
    torch.testing.assert_close(states[0]["model"], states[1]["model"], rtol=0, atol=0)
    torch.testing.assert_close(states[0]["average"], states[1]["average"], rtol=0, atol=0)


def test_a_run_learns_and_its_folder_says_how(whole):
    lines = curve(whole.out)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert {"reward", "accuracy", "length", "dead_groups"} <= set(lines[0])
    assert {"greedy", "mean_of_8"} <= set(lines[-1])
    learnt = [line for line in lines if "kl" in line]
    assert learnt and all(math.isfinite(value) for line in lines for value in line.values())
    assert {"kl", "entropy", "gradient", "clipped"} <= set(learnt[0])
    settings = json.loads((whole.out / "plan.json").read_text())["settings"]
    assert settings["kl_weight"] == 5e-3 and settings["rows"] == str(whole.rows)
    assert (whole.out / "curves.png").stat().st_size > 10_000
    assert any((whole.out / "tensorboard").iterdir())
    before, after = (EmbeddedPolicy(folder).model.state_dict() for folder in (MODEL, whole.out / "checkpoint"))
    changed = {name for name in before if not torch.equal(before[name].float(), after[name])}
    assert changed and not any("visual" in name for name in changed)


def test_a_run_with_other_settings_is_refused(plan):
    EmbeddedGrpo(plan)
    with pytest.raises(InvalidInput, match=r"kl_weight 0\.005, not 0\.1"):
        EmbeddedGrpo(replace(plan, kl_weight=0.1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"group": 1}, "at least 2 answers"),
        ({"reward": "best"}, "expected one of"),
        ({"steps": 0}, "steps is 0"),
        ({"clip": 1.0}, "clip 1.0"),
        ({"temperature": 0.0}, "temperature 0.0"),
    ],
)
def test_settings_that_cannot_train_are_refused(plan, change, said):
    with pytest.raises(InvalidInput, match=said):
        replace(plan, **change)

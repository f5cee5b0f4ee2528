"""GRPO of the shipped checkpoint on videos, for a few steps."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.resources import resource
from reasonseg_ros.tabletop.videos.film import film
from reasonseg_ros.tabletop.world import World
from reasonseg_ros.training.reinforcement.losses import AnswerTokens, grpo_loss
from reasonseg_ros.training.reinforcement.plan import GrpoPlan
from reasonseg_ros.training.reinforcement.policy import EmbeddedPolicy
from reasonseg_ros.training.reinforcement.two_rounds import (
    TwoRoundsGrpo,
    roll_out,
    rollout_log_probabilities,
    run_two_rounds,
)
from reasonseg_ros.training.reinforcement.video_rewards import chosen_frame
from reasonseg_ros.training.rendered.videos import write_videos
from reasonseg_ros.training.rendered_video_rows import write_video_rows
from reasonseg_ros.training.video_rows import read_video_rows

pytest.importorskip("tensorboard")
pytest.importorskip("matplotlib")
MODEL = resource("models/tabletop/reasoner")


@pytest.fixture(scope="module")
def row_folder(tmp_path_factory):
    """Rows about two rendered videos: of drawn rectangles the checkpoint says that nothing fits."""
    world, videos, folder = World((320, 240)), tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("rows")
    write_videos([film(world, seed, 6, 2.0) for seed in (34000000, 34000001)], videos / "videos_0034000000")
    write_video_rows(videos, folder, 2, "train", 0)
    return folder


@pytest.fixture(scope="module")
def policy():
    return EmbeddedPolicy(MODEL)


@pytest.fixture(scope="module")
def rollouts(policy, row_folder):
    return roll_out(policy, row_folder, read_video_rows(row_folder), 2, 1.0, 1)


@pytest.fixture
def plan(row_folder, tmp_path):
    return GrpoPlan(
        MODEL, row_folder, tmp_path / "run", dev_rows=row_folder, reward="revseg", steps=2, prompts=2, group=4,
        save_every=1, measure_every=2, measured=1,
    )  # fmt: skip


def inputs(policy, rgbs, question, numbered):
    """Of transformers, for a chat with images."""
    from PIL import Image

    from reasonseg_ros.reasoner.chat.prompts import normalise_question
    from reasonseg_ros.reasoner.image_size import resize_rgb
    from reasonseg_ros.training.reasoner.model import IMAGE_WH

    content = []
    for number, _ in enumerate(rgbs, 1):
        content += [{"type": "text", "text": str(number)}] * numbered + [{"type": "image"}]
    chat = [{"role": "user", "content": [*content, {"type": "text", "text": normalise_question(question)}]}]
    prompt = policy.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    images = [Image.fromarray(resize_rgb(np.ascontiguousarray(rgb), IMAGE_WH)) for rgb in rgbs]
    return policy.processor(text=[prompt], images=images, return_tensors="pt")


def test_both_rounds_are_the_tokens_of_generate(policy, row_folder):
    greedy = roll_out(policy, row_folder, read_video_rows(row_folder), 1, 0.0, 0)

    def generated(rgbs, question, numbered):
        given = inputs(policy, rgbs, question, numbered)
        output = policy.model.generate(**given, max_new_tokens=160, do_sample=False)
        return output[0, given["input_ids"].shape[1] :].tolist()

    for rgbs, question, (said,) in zip(greedy.videos.images, greedy.videos.questions, greedy.first, strict=True):
        assert said == generated(rgbs, question, True)
    assert greedy.second, "no round 2 was asked"
    for number, asked, said in greedy.second:
        chosen = chosen_frame(policy.text(greedy.first[number][0]), 6)
        assert asked.questions == [chosen.description]
        np.testing.assert_array_equal(asked.images[0][0], greedy.videos.images[number][chosen.index])
        assert said == generated(asked.images[0], chosen.description, False)


def test_log_probabilities_of_both_rounds_are_those_of_transformers(policy, rollouts):
    with torch.no_grad():
        ours, _, owner = rollout_log_probabilities(policy, rollouts)
    first = [tokens for group in rollouts.first for tokens in group]
    own = {number: (asked, tokens) for number, asked, tokens in rollouts.second}
    lengths = [len(tokens) + (len(own[number][1]) if number in own else 0) for number, tokens in enumerate(first)]
    assert torch.bincount(owner).tolist() == lengths

    def theirs(rgbs, question, numbered, tokens):
        given = inputs(policy, rgbs, question, numbered)
        given["input_ids"] = torch.cat([given["input_ids"], torch.tensor([tokens])], 1)
        for name in ("attention_mask", "mm_token_type_ids"):
            if name in given:
                value = int(name == "attention_mask")
                given[name] = torch.cat([given[name], torch.full((1, len(tokens)), value)], 1)
        logits = policy.model(**given).logits[0, -len(tokens) - 1 : -1].log_softmax(-1)
        return logits.gather(1, torch.tensor(tokens)[:, None])[:, 0]

    with torch.no_grad():
        for number in range(0, len(first), 2):  # one rollout of each question
            expected = [
                theirs(rollouts.videos.images[number // 2], rollouts.videos.questions[number // 2], True, first[number])
            ]
            if number in own:
                asked, tokens = own[number]
                expected.append(theirs(asked.images[0], asked.questions[0], False, tokens))
            torch.testing.assert_close(ours[owner == number], torch.cat(expected), atol=2e-3, rtol=0)


def test_parts_of_the_questions_give_the_gradient_of_all(policy, rollouts):
    advantages = torch.linspace(-1, 1, 4)
    policy.model.requires_grad_(True)
    parameter = policy.model.model.language_model.layers[0].self_attn.q_proj.weight

    def gradient(parts):
        policy.model.zero_grad()
        for part, own in parts:
            now, _, owner = rollout_log_probabilities(policy, part)
            grpo_loss(AnswerTokens(now, now.detach(), now.detach() - 0.1, owner), own, 0.2, 5e-3, 4)[0].backward()
        return parameter.grad.clone()

    whole = gradient([(rollouts, advantages)])
    parted = gradient([(rollouts.part([1]), advantages[2:]), (rollouts.part([0]), advantages[:2])])
    policy.model.zero_grad()
    assert whole.abs().max() > 1e-6
    torch.testing.assert_close(parted, whole, atol=float(whole.abs().max()) * 2e-3, rtol=0)


def test_a_run_learns_and_resumes_with_the_same_curve(plan, tmp_path):
    def curve(folder):
        lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
        measured_anew = ("seconds", "cpu_s", "memory_mb")
        return [{name: value for name, value in line.items() if name not in measured_anew} for line in lines]

    whole = replace(plan, out=tmp_path / "whole")
    run_two_rounds(whole)
    run_two_rounds(replace(plan, steps=1))
    run_two_rounds(plan)
    lines = curve(whole.out)
    assert [line["step"] for line in lines] == [1, 2]
    assert {"reward", "format", "temporal", "spatial", "second_rounds"} <= set(lines[0])
    assert {"greedy", "mean_of_8"} <= set(lines[-1])
    assert any("kl" in line for line in lines), "no step has changed the weights"
    assert curve(plan.out)[-1] == {**lines[-1], **{k: curve(plan.out)[-1][k] for k in ("greedy", "mean_of_8")}}
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (plan.out, whole.out)]
    torch.testing.assert_close(states[0]["average"], states[1]["average"], rtol=0, atol=0)
    assert (plan.out / "checkpoint" / "model.safetensors").exists()


def test_published_checkpoints_are_refused(plan):
    with pytest.raises(InvalidInput, match="only the engine embedded asks two"):
        replace(plan, engine="trl", dev_rows=None, measure_every=20, measured=100)


def test_rows_about_images_are_refused(plan, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"id": "1", "image": "a.png", "question": "a cup", "targets": []}\n')
    with pytest.raises(InvalidInput, match="about one image"):
        TwoRoundsGrpo(replace(plan, rows=tmp_path))

"""Supervised training of the shipped checkpoint on rows, for a few steps."""

import json
import random
from dataclasses import replace

import pytest
import torch

from reasonseg_ros.files.resources import resource
from reasonseg_ros.images.files import read_image
from reasonseg_ros.training.reasoner.examples import ExampleEncoder, draw_question
from reasonseg_ros.training.reasoner.images import dense_labels, view
from reasonseg_ros.training.reinforcement.plan import RunPlan
from reasonseg_ros.training.reinforcement.policy import EmbeddedPolicy, QuestionBatch
from reasonseg_ros.training.reinforcement.run import train_to_end
from reasonseg_ros.training.reinforcement.supervised import EmbeddedSupervised, response_text, run_supervised
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.rows import TrainingRow, TrueTarget, read_rows
from reasonseg_ros.training.scene_rows import write_scene_rows

pytest.importorskip("tensorboard")
pytest.importorskip("matplotlib")
MODEL = resource("models/tabletop/reasoner")


@pytest.fixture(scope="module")
def row_folder(scene_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_scene_rows(scene_folder, folder, 12, "wide", 0)
    return folder


@pytest.fixture
def plan(row_folder, tmp_path):
    return RunPlan(MODEL, row_folder, tmp_path / "run", steps=4, prompts=4, rate=1e-3, save_every=2)


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "progress.jsonl").read_text().splitlines()]


def test_a_row_becomes_the_tokens_that_the_checkpoint_was_trained_to_write(scene_folder, row_folder):
    policy, files, rng = EmbeddedPolicy(MODEL), SceneFiles(scene_folder), random.Random(0)
    encoder, compared = ExampleEncoder(policy.processor.tokenizer), 0
    for index, row in enumerate(read_rows(row_folder)):
        scene = question = None
        while question is None:  # as `write_scene_rows` draws
            scene = view(files[compared % len(files)])
            question, compared = draw_question(scene, rng, "wide"), compared + 1
        assert question.text == row.question, index
        assert policy.tokens(response_text(row)) == encoder.example(scene, dense_labels(scene), question).response


def test_a_row_without_targets_says_so():
    assert response_text(TrainingRow("1", "a.png", "a cup", (), "no.")) == "<think>no.</think><answer>[]</answer>"


def test_a_box_on_the_last_pixel_ends_at_the_image():
    target = TrueTarget((0.0, 0.0, 839.0, 839.0), ((0.0, 0.0),))
    assert '[{"bbox_2d":[0,0,224,168],"point_2d":[0,0]}]' in response_text(TrainingRow("1", "a.png", "a", (target,)))


def test_the_rows_become_likelier_and_vision_stays(plan, row_folder):
    rows = read_rows(row_folder)[:6]
    asked = QuestionBatch([[read_image(row_folder / row.image)] for row in rows], [row.question for row in rows])

    def log_probability(folder):
        policy = EmbeddedPolicy(folder)
        with torch.no_grad():
            return float(
                policy.log_probabilities(asked, [[policy.tokens(response_text(row))] for row in rows])[0].mean()
            )

    run_supervised(plan)
    assert log_probability(plan.out / "checkpoint") > log_probability(MODEL) + 0.01
    before, after = EmbeddedPolicy(MODEL).model.state_dict(), EmbeddedPolicy(plan.out / "checkpoint").model.state_dict()
    changed = {name for name in before if not torch.equal(before[name].float(), after[name])}
    assert changed and not any("visual" in name for name in changed)


def test_cpu_time_ends_a_run_which_then_goes_on_to_the_same_weights(plan, tmp_path):
    plan = replace(plan, steps=2, prompts=1)
    whole = replace(plan, out=tmp_path / "whole")
    run_supervised(whole)
    run_supervised(replace(plan, cpu_s=1e-6))
    assert len(losses(plan.out)) == 1
    resumed = EmbeddedSupervised(replace(plan, cpu_s=1e9))
    spent_s = resumed.spent_s
    assert resumed.step == 1 and spent_s > 1e-6 and not resumed.is_done
    train_to_end(resumed)
    assert resumed.spent_s > spent_s and resumed.is_done
    assert losses(plan.out) == losses(whole.out)
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (plan.out, whole.out)]
    torch.testing.assert_close(states[0]["average"], states[1]["average"], rtol=0, atol=0)

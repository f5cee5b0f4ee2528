"""Training itself, on a few scenes for a few steps."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.local.reasoner import LocalReasoner
from reasonseg_ros.training.reasoner import examples
from reasonseg_ros.training.reasoner import trainer as trainer_module
from reasonseg_ros.training.reasoner.plan import ReasonerPlan
from reasonseg_ros.training.reasoner.run import train_reasoner
from reasonseg_ros.training.reasoner.trainer import Trainer
from reasonseg_ros.types import Frame


@pytest.fixture(autouse=True)
def short_orthogonalization(monkeypatch):
    """One Newton-Schulz iteration instead of five: these take most of a step on a CPU."""
    monkeypatch.setattr(torch.optim, "Muon", partial(torch.optim.Muon, ns_steps=1))


@pytest.fixture
def plan(scene_folder, tmp_path):
    return ReasonerPlan(scene_folder, tmp_path / "exported", tmp_path / "work", steps=4, dense_share=0.5, batch=2)


def test_questions_begin_after_the_dense_stage_and_the_rate_falls_at_the_end(plan):
    plan = replace(plan, steps=7, dense_share=0.3)
    trainer = Trainer(plan, 0)
    rates = []
    for _ in range(plan.steps):
        rates.append(trainer.rate)
        trainer.advance()
    assert (trainer.step, trainer.question_steps) == (7, 4)
    assert trainer.progress == 1
    assert rates[-1] < rates[-2] and trainer.report["dense"] > 0
    assert {"text", "number", "looked", "layer_box_px"} <= set(trainer.report)


def test_a_resumed_run_stands_where_it_stopped(plan, monkeypatch):
    # The tokenizer library's dropout cannot be seeded: which pieces a rough word falls into is left to chance.
    monkeypatch.setattr(examples, "_ROUGH_SHARE", 0)
    stopped = Trainer(plan, 0)
    for _ in range(3):
        stopped.advance()
    stopped.save()
    resumed = Trainer(plan, 0)
    assert (resumed.step, resumed.question_steps, resumed.progress) == (3, 1, 0.75)
    assert resumed.rate == stopped.rate
    torch.testing.assert_close(resumed.model.state_dict(), stopped.model.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(resumed.average, stopped.average, rtol=0, atol=0)
    for new, old in zip(resumed.optimizers, stopped.optimizers, strict=True):
        torch.testing.assert_close(new.state_dict()["state"], old.state_dict()["state"], rtol=0, atol=0)
    # The next batch is the one that the stopped run would have drawn.
    batches = [trainer.batches.draw(trainer.step, 0, True) for trainer in (stopped, resumed)]
    torch.testing.assert_close(batches[0].images, batches[1].images, rtol=0, atol=0)
    torch.testing.assert_close(batches[0].texts.tokens, batches[1].texts.tokens, rtol=0, atol=0)


def test_a_finished_run_goes_on_when_the_budget_grows_and_its_export_answers(plan, make_scene):
    train_reasoner(replace(plan, steps=2))
    train_reasoner(plan)
    state = torch.load(plan.work / "reasoner.pt", weights_only=True)
    assert state["step"] == plan.steps
    card = replace(load_card("tabletop-reasoner", "reasoner"), source=str(plan.out))
    reasoner = LocalReasoner(card, ReasonerConfig(device="cpu", max_new_tokens=5))
    answer = reasoner.answer(Frame(np.ascontiguousarray(make_scene(1).rgb)), "Where is the mug?")
    assert answer.tokens == 5 and answer.raw_text


def test_two_processes_train_one_model(plan):
    train_reasoner(replace(plan, steps=2, processes=2))
    assert torch.load(plan.work / "reasoner.pt", weights_only=True)["step"] == 2
    assert (plan.out / "model.safetensors").exists()


def test_a_run_on_videos_begins_with_the_weights_of_an_earlier_one(plan, video_folder, tmp_path, monkeypatch):
    train_reasoner(replace(plan, steps=2))
    monkeypatch.setattr(trainer_module, "computes_bfloat16", lambda device: True)  # as on a GPU
    later = replace(plan, steps=4, dense_share=0.0, videos=video_folder, video_batch=2, work=tmp_path / "later")
    trainer = Trainer(replace(later, start=plan.work / "reasoner.pt"), 0)
    earlier = torch.load(plan.work / "reasoner.pt", weights_only=True)
    for name, parameter in trainer.model.named_parameters():
        torch.testing.assert_close(parameter.data, earlier["average"][name], rtol=0, atol=0)
    assert trainer.step == 0
    trainer.advance()
    assert {"video_text", "video_event", "video_looked", "video_layer_box_px", "number"} <= set(trainer.report)
    assert trainer.has_bfloat16
    assert "video_number" not in trainer.report
    trainer.save()
    resumed = Trainer(replace(later, start=plan.work / "reasoner.pt"), 0)
    assert resumed.step == 1
    torch.testing.assert_close(resumed.model.state_dict(), trainer.model.state_dict(), rtol=0, atol=0)


def test_a_run_goes_on_from_the_folder_of_a_checkpoint(plan, video_folder, tmp_path):
    train_reasoner(replace(plan, steps=2))
    later = replace(
        plan, steps=4, dense_share=0.0, videos=video_folder, video_batch=2, work=tmp_path / "later", start=plan.out,
        keep_vision=True, phrasing="wide",
    )  # fmt: skip
    trainer = Trainer(later, 0)
    earlier = torch.load(plan.work / "reasoner.pt", weights_only=True)["average"]
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    for name, value in before.items():
        torch.testing.assert_close(value, earlier[name], rtol=1e-2, atol=1e-2)  # a checkpoint holds half precision
    trainer.advance()
    trainer.advance()
    assert {"text", "number", "looked", "video_text", "video_looked"} == set(trainer.report) - {
        "text_right", "number_off_px", "video_text_right"
    }  # fmt: skip
    after = dict(trainer.model.named_parameters())
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and not any("visual" in name for name in changed)


def test_a_checkpoint_without_heads_has_no_dense_stage(plan, tmp_path):
    with pytest.raises(InvalidInput, match="dense"):
        Trainer(replace(plan, start=tmp_path, dense_share=0.1), 0)

"""GRPO through TRL, on the shipped checkpoint as a stand-in for a published one."""

import json

import pytest
import torch
from transformers import AutoModelForImageTextToText

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.resources import resource
from reasonseg_ros.model_card import load_card
from reasonseg_ros.training.reinforcement.plan import GrpoPlan
from reasonseg_ros.training.scene_rows import write_scene_rows

pytestmark = pytest.mark.filterwarnings("ignore")
pytest.importorskip("trl")
MODEL = resource("models/tabletop/reasoner")


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_step_changes_the_text_model_and_reports_every_part(scene_folder, tmp_path, lora_rank):
    from reasonseg_ros.training.reinforcement.published import run_published

    write_scene_rows(scene_folder, tmp_path / "rows", 4, "train", 0)
    plan = GrpoPlan(
        MODEL, tmp_path / "rows", tmp_path / "run", engine="trl", steps=2, prompts=2, group=4, save_every=1,
        lora_rank=lora_rank, rate=1e-3,
    )  # fmt: skip
    run_published(plan)
    log = json.loads((plan.out / "checkpoint-2" / "trainer_state.json").read_text())["log_history"]
    assert {"rewards/accuracy/mean", "rewards/answer_format/mean", "kl", "entropy", "reward"} <= set(log[-1])
    assert log[0]["rewards/answer_format/mean"] > 1  # the prompt is the one that the checkpoint knows
    before, after = (
        AutoModelForImageTextToText.from_pretrained(folder).float().state_dict()
        for folder in (MODEL, plan.out / "checkpoint")
    )
    first, tuned = (load_card(str(folder), "reasoner") for folder in (MODEL, plan.out / "checkpoint"))
    assert (tuned.prompt, tuned.image_size_wh, tuned.dialect) == (first.prompt, first.image_size_wh, first.dialect)
    assert set(before) == set(after)
    assert any(not torch.equal(before[name], after[name]) for name in before if "language_model" in name)


def test_a_card_whose_images_are_not_squashed_is_refused(tmp_path):
    from pathlib import Path

    from reasonseg_ros.training.reinforcement.published import published_card

    plan = GrpoPlan(Path("qwen2.5-vl-3b"), tmp_path, tmp_path / "run", engine="trl")
    with pytest.raises(InvalidInput, match="squashes no image"):
        published_card(plan)

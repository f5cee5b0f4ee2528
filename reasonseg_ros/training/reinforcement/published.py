"""GRPO of published checkpoints with TRL, on the same rows and rewards as the embedded one. SFT shares parts of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from datasets import Dataset, Features, Image, Value
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.card_writer import write_card
from reasonseg_ros.files.strict_json import json_text, parse_json
from reasonseg_ros.images.files import read_image
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.reasoner.chat.prompts import normalise_question
from reasonseg_ros.reasoner.image_size import resize_rgb
from reasonseg_ros.training.continuing import begin_or_continue
from reasonseg_ros.training.reinforcement.plan import MAY_CHANGE, GrpoPlan, RunPlan
from reasonseg_ros.training.reinforcement.rewards import REWARDS, RewardTruth, TextReward
from reasonseg_ros.training.rows import TrainingRow, read_rows, targets_from_values
from reasonseg_ros.weights import check_weights

PROMPT_TOKENS = 1400
"""Maximum tokens of a prompt with one image of 840 x 840 pixels (900 tokens in Qwen2.5-VL)."""


def published_card(plan: RunPlan) -> ModelCard:
    """The card of the initial checkpoint. Raises InvalidInput if its answers are not in pixels of a squashed image."""
    card = load_card(str(plan.model), "reasoner")
    if card.coordinates != "squashed" or card.image_size_wh is None:
        raise InvalidInput(
            f"the card of {plan.model} squashes no image; name a card file with image_size_wh: [840, 840], "
            "coordinates: squashed, and a prompt that asks for the format of the reward"
        )
    return card


def run_published(plan: GrpoPlan) -> None:
    """Train to the last step with TRL, continuing the newest state in `plan.out`. Writes `checkpoint` there."""
    continue_published("grpo", plan)
    card = published_card(plan)
    arguments = GRPOConfig(
        **common_arguments(plan), per_device_train_batch_size=plan.group, num_generations=plan.group,
        num_iterations=plan.iterations, max_completion_length=card.max_new_tokens, temperature=plan.temperature,
        beta=plan.kl_weight, epsilon=plan.clip, loss_type="grpo", scale_rewards="group",
        **vllm_arguments(plan, card),
    )  # fmt: skip
    processor, model = load_published(card)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=reward_functions(plan.reward, card),
        args=arguments,
        train_dataset=row_dataset(plan, card),
        processing_class=processor,
        peft_config=lora(plan.lora_rank),
    )
    train_and_export(trainer, plan, processor)


def continue_published(training: str, plan: RunPlan) -> None:
    """Keep the settings in `plan.out`. Raises InvalidInput if it holds another training."""
    begin_or_continue(plan.out, training, asdict(plan), _last_state(plan) is not None, MAY_CHANGE)


def _last_state(plan: RunPlan) -> str | None:
    """The folder of the newest state; None if there is none."""
    return get_last_checkpoint(str(plan.out)) if plan.out.is_dir() else None


def vllm_arguments(plan: GrpoPlan, card: ModelCard) -> dict[str, Any]:
    """Arguments for generation with vLLM in the trainer's processes; empty if it is off."""
    if not plan.vllm_memory:
        return {}
    return {
        "use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": plan.vllm_memory,
        "vllm_max_model_length": PROMPT_TOKENS + card.max_new_tokens,
    }  # fmt: skip


def load_published(card: ModelCard) -> tuple[Any, Any]:
    """Processor and model of a card. bfloat16 on a GPU, else float32. Raises ModelError for wrong weights."""
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    processor = AutoProcessor.from_pretrained(card.source, revision=card.revision, padding_side="left")
    model, report = AutoModelForImageTextToText.from_pretrained(
        card.source, revision=card.revision, dtype=dtype, output_loading_info=True
    )
    check_weights(model, report, card.source, card.revision)
    return processor, model


def common_arguments(plan: RunPlan) -> dict[str, Any]:
    """Arguments of both TRL trainers: constant rate, a state every `save_every` steps, and a log of each step."""
    has_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(plan.out), "seed": plan.seed, "use_cpu": not has_gpu, "bf16": has_gpu,
        "gradient_accumulation_steps": plan.prompts, "gradient_checkpointing": has_gpu, "learning_rate": plan.rate,
        "lr_scheduler_type": "constant", "weight_decay": plan.weight_decay, "max_grad_norm": 1.0,
        "max_steps": plan.steps, "save_steps": plan.save_every, "logging_steps": 1, "report_to": ["tensorboard"],
        "remove_unused_columns": False, "disable_tqdm": True,
    }  # fmt: skip


def train_and_export(trainer: Any, plan: RunPlan, processor: Any) -> None:
    """Train from the newest state in `plan.out`, then write `checkpoint` with adapters merged."""
    trainer.train(resume_from_checkpoint=_last_state(plan))
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if plan.lora_rank:
        trained = trained.merge_and_unload()
    if trainer.accelerator.is_main_process:
        trained.save_pretrained(plan.out / "checkpoint")
        processor.save_pretrained(plan.out / "checkpoint")
        write_card(published_card(plan), plan.out / "checkpoint")


def row_dataset(plan: GrpoPlan, card: ModelCard) -> Dataset:
    """The rows for TRL: a chat, the checkpoint's input image, and the targets as JSON."""
    size_wh = card.image_size_wh
    assert size_wh

    def entries() -> Iterator[dict[str, Any]]:
        for row in read_rows(plan.rows):
            yield {
                "prompt": row_chat(card, row),
                "image": seen_image(plan, row, size_wh),
                "targets": _targets_text(row),
            }

    message = [{"role": Value("string"), "content": Value("string")}]
    features = Features({"prompt": message, "image": Image(), "targets": Value("string")})
    return Dataset.from_list(list(entries()), features=features)


def seen_image(plan: RunPlan, row: TrainingRow, size_wh: tuple[int, int]) -> Any:
    """The row's image resized to the checkpoint's input size, as a Pillow image."""
    from PIL import Image as PillowImage

    return PillowImage.fromarray(resize_rgb(read_image(plan.rows / row.image), size_wh))


def _targets_text(row: TrainingRow) -> str:
    return json_text([{"box_xyxy": target.box_xyxy, "points_xy": target.points_xy} for target in row.targets])


def row_chat(card: ModelCard, row: TrainingRow) -> list[dict[str, str]]:
    """The system and user messages of a question."""
    user = {"role": "user", "content": card.prompt.replace("{query}", normalise_question(row.question))}
    return [{"role": "system", "content": card.system}, user] if card.system else [user]


def reward_functions(name: str, card: ModelCard) -> list[Callable[..., list[float]]]:
    """A TRL reward function for each part of a reward, named after the part."""
    return [_as_trl(part, reward, card) for part, reward in REWARDS[name].items()]


def _as_trl(part: str, reward: TextReward, card: ModelCard) -> Callable[..., list[float]]:
    size_wh = card.image_size_wh
    assert size_wh

    def rewards(completions: Sequence[Any], targets: Sequence[str], **_: Any) -> list[float]:
        texts = [completion[0]["content"] for completion in completions]
        truths = [RewardTruth(targets_from_values(parse_json(text)), size_wh) for text in targets]
        return [reward(text, truth) for text, truth in zip(texts, truths, strict=True)]

    rewards.__name__ = part
    return rewards


def lora(rank: int) -> Any:
    """Configuration of adapters on the text model's linear layers; None for rank 0."""
    if not rank:
        return None
    from peft import LoraConfig

    layers = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers, task_type="CAUSAL_LM")

"""Supervised training of published checkpoints with TRL, on the same rows as GRPO."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from datasets import Dataset, Features, Image, List, Value
from trl import SFTConfig, SFTTrainer

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.training.reinforcement.plan import RunPlan
from reasonseg_ros.training.reinforcement.published import (
    common_arguments,
    continue_published,
    load_published,
    lora,
    published_card,
    row_chat,
    seen_image,
    train_and_export,
)
from reasonseg_ros.training.rows import TRUTH_PX, TrainingRow, TrueTarget, read_rows


def run_published_sft(plan: RunPlan) -> None:
    """Train to the last step with TRL, continuing the newest state in `plan.out`. Writes `checkpoint` in that folder.

    The loss covers only tokens of the answer. Raises InvalidInput as `answer_text` does.
    """
    continue_published("sft", plan)
    card = published_card(plan)
    dataset = supervised_dataset(plan, card)
    arguments = SFTConfig(
        **common_arguments(plan), per_device_train_batch_size=1, completion_only_loss=True,
        max_length=None,  # image tokens must not be truncated
    )  # fmt: skip
    processor, model = load_published(card)
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        processing_class=processor,
        peft_config=lora(plan.lora_rank),
    )
    train_and_export(trainer, plan, processor)


def supervised_dataset(plan: RunPlan, card: ModelCard) -> Dataset:
    """The rows for TRL: a chat, its answer, and the checkpoint's input image."""
    size_wh = card.image_size_wh
    assert size_wh

    def entries() -> Iterator[dict[str, Any]]:
        for row in read_rows(plan.rows):
            answer = [{"role": "assistant", "content": answer_text(row, card)}]
            yield {"prompt": row_chat(card, row), "completion": answer, "images": [seen_image(plan, row, size_wh)]}

    message = [{"role": Value("string"), "content": Value("string")}]
    features = Features({"prompt": message, "completion": message, "images": List(Image())})
    return Dataset.from_list(list(entries()), features=features)


def answer_text(row: TrainingRow, card: ModelCard) -> str:
    """Thought and targets in the format of the card's prompt, in pixels of the checkpoint's image.

    A row without a thought gives no thought tags, so training on such rows unlearns thinking. Raises InvalidInput for
    a dialect without such a format, and for a row that the format cannot express.
    """
    if card.dialect not in _ANSWERS:
        raise InvalidInput(
            f"the card {card.name} has the dialect {card.dialect}; supervised training writes "
            f"{' and '.join(_ANSWERS)}: name a card file with one of them and a prompt that asks for it"
        )
    thought = f"<think>{row.thought}</think>" if row.thought else ""
    answer = json.dumps(_ANSWERS[card.dialect](row, card), separators=(",", ":"))
    return f"{thought}<answer>{answer}</answer>"


def _every_target(row: TrainingRow, card: ModelCard) -> Any:
    return [
        {"bbox_2d": _scaled(target.box_xyxy, card), "point_2d": _scaled(target.points_xy[0], card)}
        for target in row.targets
    ]


def _one_target(row: TrainingRow, card: ModelCard) -> Any:
    if len(row.targets) != 1 or len(row.targets[0].points_xy) != 2:
        points = [len(target.points_xy) for target in row.targets]
        raise InvalidInput(
            f"row {row.id!r} has {len(row.targets)} targets with {points} points; an answer of the dialect "
            f"{card.dialect} is one target with two points"
        )
    target: TrueTarget = row.targets[0]
    first, second = (_scaled(point, card) for point in target.points_xy)
    return {"bbox": _scaled(target.box_xyxy, card), "points_1": first, "points_2": second}


_ANSWERS: dict[str, Callable[[TrainingRow, ModelCard], Any]] = {
    "vision_reasoner": _every_target,
    "seg_zero": _one_target,
}


def _scaled(values: tuple[float, ...], card: ModelCard) -> list[int]:
    """Coordinates x, y, ... of the squashed image as whole pixels of the checkpoint's image."""
    assert card.image_size_wh
    return [round(value * card.image_size_wh[i % 2] / TRUTH_PX) for i, value in enumerate(values)]

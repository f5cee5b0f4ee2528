"""The common part of reasoners with a model card, wherever their model runs."""

from __future__ import annotations

from dataclasses import replace

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.chat.prompts import read_prompt
from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.reasoner.image_size import answer_wh
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.types import Answer, Frame


class CardReasoner(Reasoner):
    """Takes name, prompt and answer format from the card, unless the settings override them."""

    def __init__(self, card: ModelCard, config: ReasonerConfig) -> None:
        self.name = card.name
        self.card = card
        self.frames = card.frames
        self.config = config
        self.prompt = read_prompt(config.prompt_file) if config.prompt_file else ""

    def read(self, text: str, frame: Frame, seen_wh: tuple[int, int], cut: bool, tokens: int) -> Answer:
        """The answer in the model's text about a frame that it saw in the size `seen_wh`."""
        answer = parse_answer(
            text,
            frame.size_wh,
            dialect=self.card.dialect,
            answer_wh=answer_wh(self.card, seen_wh),
            strict=self.config.strict,
            cut=cut,
        )
        return replace(answer, model=self.name, tokens=tokens)

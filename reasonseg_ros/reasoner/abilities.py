"""Optional abilities of reasoners: sampled answers, attention, likelihoods, free replies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from reasonseg_ros.errors import ConfigError
from reasonseg_ros.types import Answer, FloatArray, Status


class Ability(str, Enum):
    """`SAMPLES` and `ATTENTION` are what `explore` can compute; `REPLIES` means that `reply` works."""

    SAMPLES = "samples"
    ATTENTION = "attention"
    REPLIES = "replies"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Exploration:
    """What a caller wants in addition to an answer.

    Attributes:
        samples: number of answers drawn at random, token by token.
        temperature: of sampling, above 0; 1 leaves the model's distribution unchanged.
        seed: the same seed gives the same samples. A server may not support it.
        attention: whether to compute the attention of the answer's tokens.
    """

    samples: int = 0
    temperature: float = 1.0
    seed: int = 0
    attention: bool = False

    @property
    def needs(self) -> frozenset[Ability]:
        wanted = {Ability.SAMPLES: self.samples > 0, Ability.ATTENTION: self.attention}
        return frozenset(ability for ability, is_wanted in wanted.items() if is_wanted)


@dataclass(frozen=True, eq=False)
class Explored:
    """An answer with its samples and its attention.

    Attributes:
        answer: as `Reasoner.answer` gives it.
        samples: the sampled answers; fewer than wanted if a limit or a server stopped them.
        attention: float32 [rows, columns], a value for each image token: how much the tokens after the thought attend
            to it. Probabilities are summed over all heads of the layers from the middle to the last, then averaged
            over the tokens. So a head counts by how much it looks at the image. None if it was not wanted, or if a
            limit stopped the answer.
    """

    answer: Answer
    samples: tuple[Answer, ...] = ()
    attention: FloatArray | None = None


@dataclass(frozen=True)
class Reply:
    """A model's free reply about images; OK, or the status that says why there is no text.

    Attributes:
        is_cut: the token limit was hit.
        tokens, prompt_tokens: the server's counts; 0 if it gives none, or if the model runs in this process.
    """

    status: Status
    text: str = ""
    error: str = ""
    is_cut: bool = False
    tokens: int = 0
    prompt_tokens: int = 0


def failed_reply(answer: Answer) -> Reply:
    """The Reply of a call that failed for the reason in `answer`."""
    return Reply(answer.status, error=answer.error)


def check_abilities(name: str, abilities: Collection[Ability], needs: Collection[Ability]) -> None:
    """Raises ConfigError if the reasoner `name` lacks one of `needs`."""
    lacks = sorted(str(ability) for ability in needs if ability not in abilities)
    if lacks:
        raise lacking(name, lacks)


def lacking(name: str, lacks: Sequence[str]) -> ConfigError:
    return ConfigError(f"reasoner {name} gives no {' and no '.join(lacks)}")

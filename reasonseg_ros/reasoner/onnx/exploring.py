"""The likeliest answer and sampled ones, decoded as one tree.

Answers with the same beginning share its tokens. The cache of keys and values holds one branch at a time. When a branch
ends, the cache is rewound to where the next one departs. So an answer costs only the tokens that no earlier one has,
and the prompt is not copied. If the model is certain, these tokens are few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from reasonseg_ros.reasoner.abilities import Exploration
from reasonseg_ros.reasoner.onnx.choosing import Chooser, Draws, entropy, log_probabilities
from reasonseg_ros.reasoner.onnx.manifest import ReasonerManifest
from reasonseg_ros.reasoner.onnx.text import TextModel
from reasonseg_ros.types import FloatArray

GREEDY = 0
"""The member that takes the likeliest token everywhere; the others draw theirs."""


@dataclass(frozen=True, eq=False)
class Branch:
    """Tokens that some answers begin with, or all tokens of an answer.

    Attributes:
        members: the answers: GREEDY, and 1 to the number of samples.
        log_likelihood_nats: sum over the tokens.
        attention: float32 [image tokens] for each token, from the position that predicted it. Only while GREEDY is
            among the members.
    """

    members: tuple[int, ...]
    tokens: tuple[int, ...] = ()
    entropies_nats: tuple[float, ...] = ()
    log_likelihood_nats: float = 0.0
    attention: tuple[FloatArray, ...] = field(default=())


def grow(
    text: TextModel,
    manifest: ReasonerManifest,
    prompt: Sequence[int],
    logits: FloatArray,
    wanted: Exploration,
    most_tokens: int,
    go_on: Callable[[Branch], bool],
) -> list[Branch]:
    """The answers, the branch of GREEDY first. Each stops at an end token or at `most_tokens`.

    `text` has read `prompt`, which gave `logits`. `go_on` is called with each branch after every token. If it returns
    False, its branch is the last one returned.
    """
    generators = [np.random.default_rng((wanted.seed, member)) for member in range(wanted.samples + 1)]
    waiting: list[Branch] = []
    branch = Branch(tuple(range(wanted.samples + 1)))
    ended: list[Branch] = []
    while True:
        chooser = Chooser(manifest.repetition_penalty, [*prompt, *branch.tokens])
        looks = text.attention() if wanted.attention and GREEDY in branch.members else None
        # Last in, first out: the longest common beginning is then still in the cache.
        waiting += reversed(_parted(branch, chooser.fair(logits), generators, wanted.temperature, looks))
        branch = waiting.pop()
        goes_on = go_on(branch)
        while not goes_on or branch.tokens[-1] in manifest.end_tokens or len(branch.tokens) >= most_tokens:
            ended.append(branch)
            if not goes_on or not waiting:
                return ended
            branch = waiting.pop()
            goes_on = go_on(branch)
        text.rewind(len(prompt) + len(branch.tokens) - 1)
        logits = text.next(branch.tokens[-1])


def _parted(
    branch: Branch,
    logits: FloatArray,
    generators: list[np.random.Generator],
    temperature: float,
    looks: FloatArray | None,
) -> list[Branch]:
    """The branches into which the next token splits `branch`, GREEDY's first."""
    logarithms, nats = log_probabilities(logits), entropy(logits)
    draws = Draws(logarithms, temperature)
    members: dict[int, list[int]] = {}
    for member in branch.members:
        token = int(logits.argmax()) if member == GREEDY else draws.draw(generators[member])
        members.setdefault(token, []).append(member)
    return [
        Branch(
            tuple(those),
            (*branch.tokens, token),
            (*branch.entropies_nats, nats),
            branch.log_likelihood_nats + float(logarithms[token]),
            (*branch.attention, looks) if looks is not None and GREEDY in those else (),
        )
        for token, those in members.items()
    ]

"""How sure a reasoner is, from what its decoding computes anyway."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_END = "</think>"


def thought_entropy(
    tokens: Sequence[int], entropies_nats: Sequence[float], text_of: Callable[[list[int]], str]
) -> float:
    """Sum of the entropies of the thought's tokens, in nats; of all tokens if the text has no `</think>`.

    The more often the model hesitates while it thinks, the more often its target is wrong. `text_of` decodes tokens.
    """
    if _END not in text_of(list(tokens)):
        return float(sum(entropies_nats))
    # The shortest beginning that holds the end of the thought: texts of beginnings grow, so halving finds it.
    low, high = 0, len(tokens)
    while low < high:
        middle = (low + high) // 2
        if _END in text_of(list(tokens[:middle])):
            high = middle
        else:
            low = middle + 1
    return float(sum(entropies_nats[:low]))

"""The certainty of a reasoner, from values that decoding computes anyway."""

from __future__ import annotations

from collections.abc import Callable, Sequence

END_OF_THOUGHT = "</think>"


def thought_entropy(
    tokens: Sequence[int], entropies_nats: Sequence[float], text_of: Callable[[list[int]], str]
) -> float:
    """Sum of the entropies of the thought's tokens, in nats; of all tokens if the text has no `</think>`.

    The higher it is, the more often the model's target is wrong. `text_of` decodes tokens.
    """
    length = thought_length(tokens, text_of)
    return float(sum(entropies_nats[:length] if length else entropies_nats))


def thought_length(tokens: Sequence[int], text_of: Callable[[list[int]], str]) -> int:
    """Number of tokens up to the end of the thought; 0 if the text has no `</think>`. `text_of` decodes tokens."""
    if END_OF_THOUGHT not in text_of(list(tokens)):
        return 0
    # Bisect for the shortest prefix that contains the end of the thought.
    low, high = 0, len(tokens)
    while low < high:
        middle = (low + high) // 2
        if END_OF_THOUGHT in text_of(list(tokens[:middle])):
            high = middle
        else:
            low = middle + 1
    return low

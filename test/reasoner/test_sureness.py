"""The entropy of the thought, in cases worked by hand."""

import pytest

from reasonseg_ros.reasoner.sureness import thought_entropy

WORDS = ["<think>", "it ", "is ", "red", "</think><answer>", "[", "]", "</answer>"]
NATS = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8]


def text_of(tokens):
    return "".join(WORDS[token] for token in tokens)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (range(8), 0.1 + 0.2 + 0.4 + 0.8 + 1.6),  # up to the token that ends the thought
        (range(4), 0.1 + 0.2 + 0.4 + 0.8),  # cut before the end: all there is
        ([5, 6], 0.1 + 0.2),  # no thought at all: the answer
        ([4], 0.1),
        ([], 0.0),
    ],
)
def test_the_entropies_of_the_thought_are_summed(tokens, expected):
    tokens = list(tokens)
    assert thought_entropy(tokens, NATS[: len(tokens)], text_of) == pytest.approx(expected)


def test_an_end_of_several_tokens_counts_whole():
    pieces = ["<think>", "a", "</", "think", ">", "b"]
    assert thought_entropy(list(range(6)), [1.0] * 6, lambda tokens: "".join(pieces[i] for i in tokens)) == 5.0

"""The entropy from a server's log-probabilities: never more than the true one, and none from what cannot be a list."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros.reasoner.server.likelihoods import LISTED, Likelihoods


def entry(text: str, probabilities: np.ndarray[Any, Any], listed: int = LISTED, chosen: int | None = None) -> Any:
    """A token as a server lists it, from its whole distribution."""
    order = np.argsort(-probabilities, kind="stable")[:listed]
    with np.errstate(divide="ignore"):
        nats = np.maximum(np.log(probabilities), -9999.0)
    first = order[0] if chosen is None else chosen
    top = [{"token": f"t{index}", "logprob": float(nats[index]), "bytes": None} for index in order]
    return {"token": text, "logprob": float(nats[first]), "bytes": None, "top_logprobs": top}


def softmax(seed: int, words: int, spread: float) -> np.ndarray[Any, Any]:
    logits = np.random.default_rng(seed).normal(0.0, spread, words)
    return np.asarray(scipy.special.softmax(logits))


def heard(entries: list[Any], content: str, thought: str = "") -> tuple[float | None, str]:
    """The entropy and the reason, the entries in pieces of one."""
    likelihoods = Likelihoods()
    for one in entries:
        likelihoods.add({"content": [one]})
        likelihoods.add(None)
    return likelihoods.entropy_nats(thought, content), likelihoods.reason


@given(st.integers(0, 10_000), st.integers(LISTED, 3000), st.floats(0.1, 30.0))
def test_the_entropy_is_a_lower_bound_of_the_true_one(seed: int, words: int, spread: float) -> None:
    probabilities = softmax(seed, words, spread)
    found, reason = heard([entry("a", probabilities)], "a")
    true = float(scipy.stats.entropy(probabilities))
    if found is None:  # with one token that is as good as certain
        assert "already chosen" in reason and true < 1e-6
    else:
        assert 0.0 <= found <= true + 1e-6


@pytest.mark.parametrize(("spread", "most"), [(8.0, 0.03), (4.0, 0.1)])
def test_it_is_close_for_the_distributions_that_language_models_give(spread: float, most: float) -> None:
    gaps, true = [], []
    for seed in range(60):
        probabilities = softmax(seed, 3000, spread)
        nats = heard([entry("a", probabilities)], "a")[0]
        true.append(float(scipy.stats.entropy(probabilities)))
        gaps.append(true[-1] - (nats or 0.0))
    assert sum(gaps) <= most * sum(true)


def test_it_is_exact_where_the_list_holds_everything() -> None:
    probabilities = np.array([0.5, 0.25, 0.125, 0.125])
    found, _ = heard([entry("<think>", probabilities), entry("x</think>", probabilities), entry("no", probabilities)],
                     "<think>x</think>no")  # fmt: skip
    assert found == pytest.approx(2 * 1.75 * math.log(2))  # of the thought only


def test_a_thought_that_was_sent_apart_ends_at_its_mark() -> None:
    even = np.array([0.5, 0.5])
    entries = [entry(text, even) for text in ("<think>", "hm", "</think>", "[]", "<|im_end|>")]
    assert heard(entries, "[]", "hm")[0] == pytest.approx(3 * math.log(2))
    assert heard([*entries[1:2], *entries[3:]], "[]", "hm") == (
        None, "it gave log-probabilities without the end of the thought (</think>)"
    )  # fmt: skip


def test_characters_of_several_tokens_do_not_matter() -> None:
    even = np.array([0.5, 0.5])
    assert heard([entry("\ufffd", even), entry("\ufffd", even), entry(" cup", even)], "é cup")[0] is not None


EVEN = np.full(40, 1 / 40)
GOOD = entry("a", EVEN)


def changed(**values: Any) -> Any:
    return {**GOOD, **values}


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], "it gave no log-probabilities"),
        ([None], "in another format"),
        (["a"], "in another format"),
        ([changed(token=None)], "in another format"),
        ([changed(top_logprobs={})], "in another format"),
        ([changed(top_logprobs=[])], "do not add up"),
        ([changed(logprob="-1")], "no negative numbers"),
        ([changed(logprob=True)], "no negative numbers"),
        ([changed(logprob=None)], "no negative numbers"),
        ([changed(logprob=0.5)], "no negative numbers"),
        ([changed(logprob=float("nan"))], "no negative numbers"),
        ([changed(logprob=float("-inf"))], "no negative numbers"),
        ([changed(logprob=-(10**400))], "no negative numbers"),
        ([changed(logprob=-0.1)], "do not add up"),  # the chosen one is likelier than the likeliest
        ([changed(top_logprobs=[*GOOD["top_logprobs"][:-1], {"logprob": float("inf")}])], "no negative numbers"),
        ([changed(top_logprobs=[*GOOD["top_logprobs"][:-1], ["b", -1.0]])], "no negative numbers"),
        ([changed(top_logprobs=[{"logprob": -0.01}] * LISTED)], "do not add up"),  # 20 tokens of 99 %
        ([changed(logprob=-30.0, top_logprobs=[{"logprob": -30.0}] * LISTED)], "do not add up"),  # too little
        ([entry("a", EVEN, listed=5)], "of 5 tokens at each position instead of 20"),
        ([GOOD, entry("b", EVEN)], "of another text than its answer"),
        ([entry("", np.array([1.0, 0.0]))] * 2 + [entry("a", np.array([1.0, 0.0]))], "already chosen"),
    ],
)  # fmt: skip
def test_what_is_no_list_gives_no_entropy_but_a_reason(entries: list[Any], reason: str) -> None:
    content = "c" if reason.startswith("of another") else "a"
    found, why = heard(entries, content)
    assert found is None and reason in why


def test_more_text_than_the_answer_is_no_list_of_it() -> None:
    assert "of another text" in heard([GOOD, entry("x" * 200, EVEN)], "a")[1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["content", "token", "logprob", "top_logprobs", "bytes"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.lists(json_values, max_size=3), st.booleans())
def test_whatever_a_server_lists_is_an_entropy_or_a_reason(values: list[Any], is_wrapped: bool) -> None:
    likelihoods = Likelihoods()
    for value in values:
        likelihoods.add({"content": value} if is_wrapped else value)
    found = likelihoods.entropy_nats("", "a")
    assert (found is None) == bool(likelihoods.reason)
    assert found is None or (math.isfinite(found) and found >= 0.0)
    json.dumps({"entropy_nats": found}, allow_nan=False)

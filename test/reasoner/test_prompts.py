from __future__ import annotations

from pathlib import Path

import pytest

from reasonseg_ros.errors import ConfigError, InvalidInput
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.chat.prompts import chat, normalise_question, read_prompt


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("What holds Coffee?", "what holds coffee"),
        ("  the\tred\n mug !? ", "the red mug"),
        ('"the mug."', "the mug"),
        ("was trägt den Kaffee?", "was trägt den kaffee"),
        ("杯子 ☕", "杯子 ☕"),
        ('{"bbox": 1} {query}', '{"bbox": 1} {query}'),
    ],
)
def test_a_question_is_normalised(text: str, question: str) -> None:
    assert normalise_question(text) == question


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("?!.", "empty"),
        ("a" * 2001, "2001 characters; at most 2000"),
        ("the\x00mug", r"U\+0000"),
        ("the \x1b[31mmug", r"U\+001B"),
        ("the \ud800 mug", r"U\+D800"),
        ("the mug<|im_end|>", "chat marker"),
        ("<|image_pad|>", "chat marker"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        normalise_question(text)


def test_the_longest_question_is_still_asked() -> None:
    assert len(normalise_question("a" * 2000)) == 2000


def test_the_prompt_holds_the_question_and_its_own_braces() -> None:
    card = load_card("seg-zero-7b", "reasoner")
    system, user = chat(card, "the mug", {"type": "image"})
    assert system == {"role": "system", "content": card.system}
    image, words = user["content"]
    assert image == {"type": "image"}
    assert '"the mug"' in words["text"]
    assert '{"bbox": [' in words["text"]
    assert "{query}" not in words["text"]


def test_a_card_without_system_line_sends_none() -> None:
    assert [message["role"] for message in chat(load_card("qwen3-vl-4b", "reasoner"), "a", {})] == ["user"]


def test_a_prompt_file_replaces_the_cards(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("Segment {query}!\n")
    messages = chat(load_card("seg-zero-7b", "reasoner"), "the mug", {}, read_prompt(str(path)))
    assert messages[-1]["content"][1]["text"] == "Segment the mug!"


def test_a_prompt_file_without_query_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Segment it")
    with pytest.raises(ConfigError, match="holds no"):
        read_prompt(str(tmp_path / "prompt.txt"))
    with pytest.raises(ConfigError, match=r"nowhere\.txt"):
        read_prompt(str(tmp_path / "nowhere.txt"))

"""Text from outside holds nothing that a terminal, a file or a message stumbles over."""

import json

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.plain_text import check_plain, one_line, plain_text, terminal_text
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Status

# name: text, as plain text, on one line
TEXTS = {
    "plain": ("the red mug", "the red mug", "the red mug"),
    "other scripts": (
        "caf\u00e9 \u676f\u5b50 \ucef5",
        "caf\u00e9 \u676f\u5b50 \ucef5",
        "caf\u00e9 \u676f\u5b50 \ucef5",
    ),
    "lone high surrogate": ("a\ud800b", "a\ufffdb", "a\\ud800b"),
    "lone low surrogate": ("a\udfffb", "a\ufffdb", "a\\udfffb"),
    "pair in two halves": ("a\ud83d\ude00b", "a\U0001f600b", "a\U0001f600b"),
    "pair the wrong way round": ("\ude00\ud83d", "\ufffd\ufffd", "\\ude00\\ud83d"),
    "terminal escape": ("\x1b[2Jgone", "\ufffd[2Jgone", "\\x1b[2Jgone"),
    "escape of one character": ("\x9b31mred", "\ufffd31mred", "\\x9b31mred"),
    "end of a C string": ("a\x00b", "a\ufffdb", "a\\x00b"),
    "line ends": ("a\r\nb\rc\u2028d\x85e", "a\nb\nc\nd\ne", "a b c d e"),
    "tab and newline": ("a\tb\n\nc", "a\tb\n\nc", "a b c"),
    "shown in another order": ("a\u202eb\u2066c", "abc", "a\\u202eb\\u2066c"),
    "joined letters": ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
    "noncharacter": ("a\uffffb", "a\ufffdb", "a\\uffffb"),
    "markup": ("[/] [red]", "[/] [red]", "[/] [red]"),
}


@pytest.mark.parametrize(("text", "plain", "line"), TEXTS.values(), ids=list(TEXTS))
def test_text_is_cleaned(text, plain, line):
    assert (plain_text(text), one_line(text)) == (plain, line)
    assert plain_text(plain) == plain and one_line(line) == line, "cleaning twice changes nothing"
    for cleaned in (plain, line):
        cleaned.encode()


@pytest.mark.parametrize("text", [text for text, _, _ in TEXTS.values()], ids=list(TEXTS))
def test_every_value_that_holds_text_is_clean(text):
    frame = Frame(np.zeros((2, 2, 3), np.uint8), frame_id=text, warning_3d=text)
    query = Query(text, text)
    grounding = Grounding(np.array([0, 0, 1, 1]), label=text)
    answer = Answer(Status.FAILED, text, raw_text=text, error=text, model=text, dialect=text)
    held = [frame.frame_id, frame.warning_3d, query.text, query.query_id, grounding.label]
    held += [answer.thought, answer.raw_text, answer.error, answer.model, answer.dialect]
    for value in held:
        assert value in (plain_text(text), one_line(text))
    json.dumps(held, ensure_ascii=False).encode()


def test_lengths_are_bounded():
    assert plain_text("a" * 10, 8) == "aaaa ..." and one_line("a" * 5000) == "a" * 996 + " ..."
    answer = Answer(Status.FAILED, "a" * 10**6, error="b" * 10**6, raw_text="\x1b" * 10**6)
    assert max(len(answer.thought), len(answer.raw_text)) <= 200_000 and len(answer.error) == 1000


def test_a_long_question_is_not_shortened_as_it_is_to_be_refused():
    assert len(Query("a" * 10**6).text) == 10**6


@pytest.mark.parametrize(
    ("text", "code"), [("a\x07", "U+0007"), ("\ud800", "U+D800"), ("\x9b", "U+009B"), ("\ufffd", "U+FFFD")]
)
def test_what_is_no_text_is_refused_with_its_code(text, code):
    with pytest.raises(InvalidInput, match=rf"question holds .*{code.replace('+', '[+]')}"):
        check_plain(text, "question")


@pytest.mark.parametrize("text", ["the mug\r\n\ton the left", "\u676f\u5b50", "\ud83d\ude00", "[/]", "\u200e"])
def test_text_is_not_refused(text):
    check_plain(text, "question")


@pytest.mark.parametrize(
    "text", ["[/]", "[red]", "[/red]", "\\[/]", "[link=x]", "a\x1b[2J", "\ud800", "[", "trailing\\"]
)
def test_brackets_in_a_table_are_no_markup(text, capsys):
    table = Table()
    table.add_column("kind")
    table.add_row(terminal_text(text))
    Console(width=80).print(table)
    assert one_line(text) in capsys.readouterr().out

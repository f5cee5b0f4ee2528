"""The corpus of questions and thoughts for training the tokenizer."""

from __future__ import annotations

from collections.abc import Iterator

from reasonseg_ros.plain_text import words_of
from reasonseg_ros.tabletop.questions import knowledge, sentences
from reasonseg_ros.tabletop.questions.clear_objects import EDGES, MEASURES, SIDES
from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS


def corpus() -> Iterator[str]:
    """Texts with every word of questions and thoughts, for training the tokenizer."""
    yield from ["You are a helpful assistant. system user assistant"] * 50
    for _ in range(20):
        yield from sentences.all_sentences()
    places = [f"{x} {y}" for x in ("left", "middle", "right") for y in ("back", "center", "front")]
    for category in CATEGORIES:
        yield from [f"{knowledge.REASONS[category]}. no {category} here. a {category} is asked for."] * 60
        yield from [" ".join(knowledge.TASKS[category])] * 8
        for color in COLORS:
            words = f"the {color} {category}, nothing here is {color}."
            yield from (f" {color} {category} {place}. {words}" for place in places)
    for _, reason, tasks in knowledge.SHARED_TASKS:
        yield from [f"{reason}. " + " ".join(tasks)] * 40
    for word in (*SIDES, *EDGES, *MEASURES):
        yield from [f"the {word} object, the {word}: {word} it:. nothing is {word} it. next to it:"] * 60
    for category, part, texts in knowledge.PART_QUESTIONS:
        yield from [f"the {part} belongs to the {category}. " + " ".join(texts)] * 20
    yield from ["everything that is all things one thing. candidates: nothing fits. asked for. is not here"] * 100


def vocabulary() -> list[str]:
    """The sorted words of the corpus. It does not contain those of the phrasing `wide`."""
    return sorted({word for text in corpus() for word in words_of(text)})

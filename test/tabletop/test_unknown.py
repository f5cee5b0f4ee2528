"""Questions about things that no scene holds, and the words that the embedded reasoner knows."""

import random

import pytest

from reasonseg_ros.files.resources import resource
from reasonseg_ros.reasoner.vocabulary import Vocabulary
from reasonseg_ros.tabletop.questions.corpus import vocabulary
from reasonseg_ros.tabletop.questions.generation import generate
from reasonseg_ros.tabletop.questions.question import UNKNOWN_KIND
from reasonseg_ros.tabletop.questions.unknown import DEVELOPMENT, TEST, TRAINED
from reasonseg_ros.tabletop.scene import CATEGORIES


def normal(text):
    return text.lower().rstrip("?").removeprefix("a ").removeprefix("an ").removeprefix("the ").removeprefix("my ")


def test_training_development_and_test_have_nothing_in_common():
    assert len(TEST) == 60 and len(DEVELOPMENT) >= 90 and len(TRAINED) >= 150
    every = [normal(text) for text in (*TEST, *DEVELOPMENT, *TRAINED)]
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("text", [*TEST, *DEVELOPMENT, *TRAINED])
def test_nothing_on_the_table_is_named(text):
    named = {category for category in CATEGORIES if category in normal(text).split()}
    assert not named - {"can"}  # which is a verb there


def test_the_shipped_vocabulary_is_that_of_the_training():
    shipped = resource("models") / "tabletop" / "vocabulary.txt"
    assert shipped.read_text(encoding="utf-8").split() == vocabulary()
    shipped_words = Vocabulary(shipped)
    assert all(shipped_words.unknown_share(text) >= 0.5 for text in TEST)


@pytest.mark.parametrize(
    ("phrasing", "texts"),
    [("train", DEVELOPMENT), ("development", DEVELOPMENT), ("wide", TRAINED), ("unseen", TEST), ("everyday", TEST)],
)
def test_each_phrasing_has_its_list(phrasing, texts, world):
    rng, scene_objects = random.Random(0), world.scene(7).objects
    found = [generate(scene_objects, rng, UNKNOWN_KIND, phrasing) for _ in range(300)]
    assert {question.text for question in found} <= set(texts)
    assert {(question.kind, question.targets) for question in found} == {("unknown", ())}
    assert found[0].thought_text == "nothing like it is here. nothing fits."

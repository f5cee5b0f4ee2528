"""Names and places are found in whatever form a question has them."""

import pytest

from reasonseg_ros.data_engine.words import content, found_name, found_place, is_same_word, likeness


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mug", "mugs"), ("knife", "knives"), ("leaf", "leaves"), ("glass", "glasses"), ("box", "boxes"),
        ("bus", "buses"),
        ("berry", "berries"), ("child", "children"), ("person", "people"), ("mouse", "mice"), ("tooth", "teeth"),
        ("scissors", "scissor"), ("cup", "cup"),
    ],
)  # fmt: skip
def test_a_plural_is_the_same_word(one, other):
    assert is_same_word(one, other)
    assert is_same_word(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("bus", "bu"), ("gas", "ga"), ("cup", "cap"), ("glass", "glas"), ("pen", "pencil"), ("plate", "plane")],
)
def test_other_words_are_not(one, other):
    assert not is_same_word(one, other)


@pytest.mark.parametrize(
    ("question", "names", "found"),
    [
        ("Which mug is clean?", ["mug"], "mug"),
        ("Which of the Mugs is clean?", ["mug"], "mug"),
        ("What is the mug's colour?", ["mug"], "mug"),
        ("Which knives are sharp?", ["knife"], "knife"),
        ("Who can call with the phone?", ["cell phone"], "cell phone"),
        ("Who eats a hotdog?", ["hot dog"], "hot dog"),
        ("Who eats a hot-dog?", ["hot dog"], "hot dog"),
        ("Which bat flies?", ["bat_(animal)"], "bat_(animal)"),
        ("Where do people sit?", ["person"], "person"),
        ("컵으로 마실 수 있나요?", ["컵"], "컵"),
        ("哪个杯子能装水", ["杯子"], "杯子"),
        ("What can one drink from?", ["mug", "glass"], ""),
        ("What measures the smugness?", ["mug"], ""),
        ("What holds hot drinks?", ["hot dog"], ""),
        ("What is it?", ["", "()"], ""),
    ],
)
def test_names_in_questions(question, names, found):
    assert found_name(question, names) == found


@pytest.mark.parametrize(
    ("question", "place"),
    [
        ("What is on the left?", "left"),
        ("What stands NEXT to it?", "next to"),
        ("What is in front of the wall?", "in front"),
        ("Which one lies to the right of it?", "to the right"),
        ("What is nearest?", "nearest"),
        ("Which is the right tool for a nail?", "the right"),
        ("Which tool is right for a nail?", ""),
        ("What should be used next?", ""),
        ("Who leftovers?", ""),
        ("What has a sharp end?", ""),
    ],
)
def test_places_in_questions(question, place):
    assert found_place(question) == place


def test_content_leaves_order_number_and_small_words_out():
    assert content("Which of these keep the tea warm?") == content("What keeps teas warm?")
    assert content("Which is it?") != content("Who are they?")
    assert likeness(content("keep tea warm"), content("keep tea cold")) == 0.5
    assert likeness(frozenset(), frozenset()) == 1.0

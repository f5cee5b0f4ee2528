from __future__ import annotations

import pytest

from reasonseg_ros.reasoner.dialects.absence import denying_clause

ABSENT = [
    "There is no hammer in the image.",
    "There's no hammer here.",
    "Nails need a hammer. None here.",
    "It is the purple hammer: nothing fits.",
    "Nothing here is red.",
    "Nothing in the image matches the description.",
    "None of the objects can cut paper.",
    "The image doesn't contain any scissors.",
    "I cannot find any mug in this picture.",
    "I can\u2019t see a dog.",
    "No object matches the query.",
    "The mug is not in the image.",
    "A spoon is not visible. The table holds a mug and a book.",
    "No such object exists in the scene.",
    "There is a mug, but there is no hammer in the image.",
    "There isn't any hammer on the table.",
    "The answer is an empty list.",
    "There is nothing to cut with in the image.",
    "There is no object that can be used to write.",
    "There is no person wearing a hat in the picture.",
    "The requested item is absent.",
    "The scene shows a bowl and two books, none of which can drive a nail.",
    "The mug could not be found.",
    "I can't find anything that matches.",
    "I looked twice. No mugs were detected.",
    "\u684c\u4e0a\u6709\u4e24\u672c\u4e66\uff0c\u56fe\u4e2d\u6ca1\u6709\u9524\u5b50\u3002",
    "\ud14c\uc774\ube14\uc5d0 \ucc45\uc774 \uc788\uc9c0\ub9cc \ub9dd\uce58\ub294 \uc5c6\uc2b5\ub2c8\ub2e4.",
]
PRESENT = [
    "The mug holds coffee.",
    "There is no doubt that the mug is the target.",
    "There is no other object that fits, so it is the mug.",
    "Nothing else fits.",
    "None of the others match.",
    "There is no handle on this cup, which is what was asked for.",
    "It is the cup with no handle.",
    "If there is no hammer I would answer with nothing; the hammer is on the left.",
    "It is not true that nothing fits: the mug does.",
    "There is no hammer in the image. However, the closest match is the wrench.",
    "There is no hammer here, but the stone can drive a nail.",
    "Nothing but the mug fits.",
    "The mug is not on the left but on the right.",
    "There is no need to look further, the mug is red.",
    "The knife is not the target; the scissors are.",
    "The lid is not visible, so the open jar is chosen.",
    "There is nothing in the mug, which is the empty one.",
    "There is no water in the glass on the left.",
    "There is no object to the left of the mug, so it is the leftmost.",
    "Nobody is sitting on the chair to the left, so it is the free one.",
    "There is only one mug.",
    "\u56fe\u4e2d\u6ca1\u6709\u5176\u4ed6\u676f\u5b50\uff0c\u7ea2\u8272\u7684\u5c31\u662f\u76ee\u6807\u3002",
    "\u56fe\u4e2d\u6709\u6ca1\u6709\u9524\u5b50\uff1f\u6709\uff0c\u5728\u5de6\u8fb9\u3002",
    "\u56fe\u4e2d\u6ca1\u6709\u9524\u5b50\uff0c\u6240\u4ee5\u9009\u62e9\u77f3\u5934\u3002",
]


@pytest.mark.parametrize("thought", ABSENT)
def test_a_thought_that_denies_the_target(thought: str) -> None:
    assert denying_clause(thought)


@pytest.mark.parametrize("thought", PRESENT)
def test_a_thought_that_denies_something_else(thought: str) -> None:
    assert denying_clause(thought) == ""

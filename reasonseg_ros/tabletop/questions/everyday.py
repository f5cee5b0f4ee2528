"""Sentences as people write to a robot: other verbs, reversed clauses, politeness, misspellings, Korean, Chinese.

For reported figures only, never for training or calibration. Slots as in `sentences.TRAINED`; their words stay English.
A test checks that no sentence here is trained on.
"""

from __future__ import annotations

import re

_CHOICE = "(, (take )?the .+ one| with the .+ one)?"
"""What multi-step questions add to the sentence."""

OTHER_VERBS = {
    "task": (
        "lend me a thing suited to {task}", "collect the article required to {task}",
        "reveal what enables you to {task}",
        "which utensil would an expert use to {task}", "nominate an object to {task}",
        "the job at hand: {task}; nominate an object",
    ),
    "goal": ("retrieve {goal}", "capture {goal}", "seize {goal} at once", "lift {goal}", "isolate {goal}"),
    "place": (
        "retrieve the article {place}", "seize whichever object is {place}", "isolate the object lying {place}",
        "lift up what one sees {place}",
    ),
}  # fmt: skip

REVERSED_CLAUSES = {
    "task": (
        "since there is a need to {task}, some object has to be fetched",
        "before i can {task}, what must i have in my hand",
        "if someone were to {task} now, their hand would reach for",
        "an object, the one with which anyone can {task}, is wanted",
    ),
    "goal": (
        "{goal}, that is the one wanted", "among everything on show, {goal}",
        "{goal} is missing from my hands, fetch it",
    ),
    "place": ("{place}, what lies there", "{place} there is something, fetch it", "the spot {place}: what occupies it"),
}  # fmt: skip

POLITE = {
    "task": (
        "sorry to bother you, might there be an object with which to {task}",
        "would it be too much trouble to get an object to {task}",
        "i would be grateful for anything that allows me to {task}",
    ),
    "goal": (
        "if it is not too much trouble, {goal}", "might i trouble you for {goal}", "be so kind as to hold up {goal}",
        "i would be grateful for {goal}",
    ),
    "place": ("might i trouble you for what sits {place}", "be so kind as to hold up the object {place}"),
}  # fmt: skip

MISSPELT = {
    "task": (
        "wat can i us to {task}", "i ned somthing to {task}", "pls giv me teh thing for when i {task}",
        "wich objekt is god to {task}",
    ),
    "goal": ("wher is {goal}", "giv me {goal} plz", "pont at {goal}", "can u se {goal}"),
    "place": ("wat is {place}", "shwo me teh thing {place}", "giv me teh one {place} plz"),
}  # fmt: skip

KOREAN = {
    "task": ("{task} 하려면 뭐가 필요해", "{task} 할 때 쓰는 물건을 주세요", "{task} 하고 싶은데 도와줘"),
    "goal": ("{goal} 좀 집어 줘", "{goal} 어디 있어", "{goal} 찾아 주세요"),
    "place": ("{place} 있는 것을 가리켜 줘", "{place} 뭐가 있어"),
}

CHINESE = {
    "task": ("我想 {task} 该用什么", "请给我能 {task} 的东西", "要 {task} 拿哪一个"),
    "goal": ("请把 {goal} 递给我", "{goal} 在哪里", "帮我找 {goal}"),
    "place": ("{place} 的是什么", "请指出 {place} 的东西"),
}

GROUPS = {
    "other verbs": OTHER_VERBS,
    "reversed clauses": REVERSED_CLAUSES,
    "polite": POLITE,
    "misspelt": MISSPELT,
    "Korean": KOREAN,
    "Chinese": CHINESE,
}
EVERYDAY = {
    form: tuple(text for group in GROUPS.values() for text in group[form]) for form in ("task", "goal", "place")
}


def group_of(question: str) -> str:
    """The name of the group in GROUPS that a question belongs to. Raises ValueError if there is none."""
    for name, forms in GROUPS.items():
        for text in (text for texts in forms.values() for text in texts):
            before, after = (part.partition("}")[2] if i else part for i, part in enumerate(text.split("{")))
            if re.fullmatch(re.escape(before) + ".+" + re.escape(after) + _CHOICE, question):
                return name
    raise ValueError(f"{question!r} is no everyday question")

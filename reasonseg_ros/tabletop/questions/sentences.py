"""The sentences of questions: many ways to ask the same, and some that are held out from training."""

from __future__ import annotations

import random
from collections.abc import Iterator

from reasonseg_ros.tabletop.questions.everyday import EVERYDAY
from reasonseg_ros.tabletop.questions.wide import WIDE

OPENINGS = ("", "", "", "", "please ", "hey robot, ", "robot, ", "ok, ", "now ", "hi, ", "excuse me, ", "look, ")
ENDINGS = ("", "", "", "", " please", " for me", " right now", " today", " on this table", " here", " thanks")

# {task} is a bare verb phrase, {goal} a noun phrase ("the red mug"), {place} a relation ("left of the mug").
TRAINED = {
    "task": (
        "what can i use to {task}?", "what could i {task} with?", "i want to {task}", "i need to {task}",
        "find the thing to {task}", "which object helps me {task}?", "show me something to {task} with",
        "what do i need to {task}?", "something to {task} with", "i would like to {task}",
        "give me something so i can {task}", "what is best to {task}?", "bring me what i need to {task}",
        "which of these would you use to {task}?", "what here is made to {task}?", "help me {task}",
        "pick the object used to {task}", "i have to {task}, what should i take?", "we are going to {task}",
        "where is the thing people use to {task}?", "to {task}, which one do i take?", "my plan is to {task}",
    ),
    "goal": (
        "give me {goal}", "find {goal}", "where is {goal}?", "show me {goal}", "pick {goal}", "i need {goal}",
        "point at {goal}", "can you see {goal}?", "bring {goal}", "{goal}", "i am looking for {goal}",
        "get {goal}", "mark {goal}", "which one is {goal}?",
    ),
    "place": (
        "what is {place}?", "find what is {place}", "the thing {place}", "show me the object {place}",
        "which object is {place}?", "give me the thing {place}", "i want the one {place}", "pick what lies {place}",
        "point at the item {place}", "what do you see {place}?",
    ),
}  # fmt: skip

UNSEEN = {
    "task": (
        "is there anything here that would let me {task}?", "my friend has to {task}, so hand over the right item",
        "point out the item one takes in order to {task}", "suppose i must {task}: what should i grab?",
        "choose a suitable item if the job is to {task}", "tell me which item lets somebody {task}",
    ),
    "goal": (
        "would you hand me {goal}?", "locate {goal} in this picture", "my eyes cannot spot {goal}",
        "let us take {goal}", "segment {goal}",
    ),
    "place": (
        "tell me which item sits {place}", "hand over whatever is {place}", "locate the item resting {place}",
        "could you grab the one that is {place}?",
    ),
}  # fmt: skip

DEVELOPMENT = {
    "task": (
        "a colleague is supposed to {task}; which tool fits?", "assist a beginner who tries to {task}",
        "recommend an implement with which people {task}", "the customer wishes to {task}, serve him properly",
        "grandma intends to {task}, what ought she grab?", "deliver the gadget required if we {task}",
        "identify the equipment that enables us to {task}", "soon the kids will {task}, prepare accordingly",
    ),
    "goal": (
        "outline {goal} carefully", "the customer asked about {goal}", "highlight {goal}",
        "a colleague misplaced {goal}", "move closer to {goal}", "identify {goal} immediately",
    ),
    "place": (
        "identify whatever stands {place}", "highlight the item positioned {place}", "what belongs {place}, colleague?",
        "describe the item found {place}",
    ),
}  # fmt: skip
"""For calibration only, not for training or reported figures."""

FILLERS = (
    "well", "just", "maybe", "quickly", "really", "kindly", "then", "so", "there", "actually", "could", "would", "you",
    "that", "this", "any", "some", "item", "object", "thing", "one", "on", "in", "at", "the", "table", "desk", "room",
)  # fmt: skip
OTHERS = {"development": DEVELOPMENT, "unseen": UNSEEN, "everyday": EVERYDAY}
HELD_OUT = ("unseen", "everyday")
"""Phrasings whose tasks are also held out from training."""
TO_TRAIN_ON = {"train": TRAINED, "wide": {form: TRAINED[form] + WIDE[form] for form in TRAINED}}
PHRASINGS = (*TO_TRAIN_ON, *OTHERS)
DROPPABLE = frozenset(("the", "a", "an", "to", "is", "i", "me", "can", "do", "my", "of", "please", "some", "what"))
LETTERS = "abcdefghijklmnopqrstuvwxyz"


_MISSPELT_SHARE = 0.15


def phrase(form: str, rng: random.Random, phrasing: str, **slots: str) -> str:
    """A sentence of `form` (task, goal or place) with its slot filled. `phrasing` is one of PHRASINGS."""
    if phrasing in OTHERS:
        return rng.choice(OTHERS[phrasing][form]).format(**slots)
    sentence = rng.choice(TO_TRAIN_ON[phrasing][form]).format(**slots)
    if phrasing == "wide" and rng.random() < _MISSPELT_SHARE:
        sentence = misspell(sentence, rng)
    if sentence.endswith("?"):
        return rng.choice(OPENINGS) + sentence
    return rng.choice(OPENINGS) + sentence + rng.choice(ENDINGS)


def roughen(text: str, rng: random.Random) -> str:
    """The question with small words dropped, and with fillers and invented words inserted.

    It teaches the model to recognise the relevant words in unseen sentences.
    """
    words = []
    for word in text.split():
        if word in DROPPABLE and rng.random() < 0.1:
            continue
        if rng.random() < 0.06:
            invented = "".join(rng.choices(LETTERS, k=rng.randint(2, 8)))
            words.append(rng.choice(FILLERS) if rng.random() < 0.6 else invented)
        words.append(word)
    return " ".join(words)


def misspell(text: str, rng: random.Random) -> str:
    """Misspell one or two long words: two letters swapped, one missing, or one doubled."""
    words = text.split()
    long = [index for index, word in enumerate(words) if len(word) > 3 and word.isascii() and word.isalpha()]
    for index in rng.sample(long, min(len(long), rng.randint(1, 2))):
        word = words[index]
        at = rng.randrange(1, len(word) - 1)
        words[index] = rng.choice(
            (
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[:at] + word[at - 1 :],
            )
        )
    return " ".join(words)


def all_sentences() -> Iterator[str]:
    """The sentences of `train` with an empty slot, for the tokenizer's corpus."""
    for form in TRAINED.values():
        yield from (sentence.format(task="", goal="", place="") for sentence in form)
    yield from OPENINGS + ENDINGS + FILLERS

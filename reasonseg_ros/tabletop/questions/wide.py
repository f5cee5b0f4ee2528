"""More sentences to train on, beside `sentences.TRAINED`: the phrasing `wide`. Slots as there."""

from __future__ import annotations

WIDE = {
    "task": (
        "how would you {task}, and with which of these?", "choose what you want in order to {task}",
        "let us {task}, so bring out the right object", "my neighbour asked me to {task}, what shall i carry over?",
        "today we {task}; hand over what is useful", "is something here good enough to {task}?",
        "i have no idea how to {task}, show me the object for it", "tell me how one could {task} with these things",
        "get ready to {task}: take the proper object", "first i {task}, so pass the thing for that",
        "look for an object that people buy to {task}", "what did they make so that people can {task}?",
        "the goal is to {task}, what serves it best?", "mum says i should {task}, what from here do i need?",
        "do not forget to {task}, and take along the thing for it", "try to {task} using a single object from here",
        "what is missing in my hand if i wish to {task}?", "you may {task} with one of these, which one?",
        "she likes to {task}, pass her the usual object", "when people {task}, they hold this",
        "can we {task}? mark what we need", "it would be nice to {task}, what do you offer?",
    ),
    "goal": (
        "hold {goal}", "pass me {goal}", "do you have {goal}?", "put a mark on {goal}", "we need {goal} over here",
        "take {goal}", "look at {goal}", "tell me where {goal} is", "is {goal} here?", "someone wants {goal}",
        "i would like to have {goal}", "choose {goal}", "touch {goal}", "search for {goal}", "my order is {goal}",
        "could i have {goal}?", "keep an eye on {goal}", "only {goal}", "did you notice {goal}?", "fetch {goal}",
    ),
    "place": (
        "tell me what is {place}", "hold the one {place}", "do you notice the object {place}?", "fetch what is {place}",
        "put a mark on the thing {place}", "someone wants the item {place}", "look at what is {place}",
        "is there a thing {place}?", "take the object that you see {place}", "search for the thing {place}",
        "could i have the one {place}?", "i wonder what is {place}", "pass me what you find {place}",
        "touch the thing that is {place}",
    ),
}  # fmt: skip

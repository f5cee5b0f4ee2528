"""Questions about a tabletop scene, each with its thought and the exact set of objects that answers it.

A question is made from the scene's facts and dropped unless its answer is unambiguous: every object
that could count must be clearly visible, and comparisons must be won by a stated margin.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from reasonseg_ros.plain_text import words_of
from reasonseg_ros.tabletop import knowledge, sentences, unknown
from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS, SceneObject, ScenePart

KINDS = ("function", "attribute", "relation", "comparison", "multi_step", "several", "none")
PART_KIND = "part"
UNKNOWN_KIND = "unknown"
"""Asks for something that no scene holds."""

MIN_VISIBLE_SHARE = 0.4
MIN_AREA_SHARE = 0.0008
"""A target shows at least this share of itself, and covers at least this share of the image."""

MAX_TARGETS = 4


@dataclass(frozen=True)
class ThoughtPiece:
    """A run of the thought's text and the instances it is about; none if it says that nothing fits."""

    text: str
    attends: tuple[int, ...]


@dataclass(frozen=True)
class SceneQuestion:
    """A question with its answer.

    Attributes:
        kind: one of KINDS, PART_KIND or UNKNOWN_KIND.
        thought: pieces; their joined texts are the thought.
        targets: instance ids from left to right, empty if nothing fits.
        part: the requested part, else empty.
    """

    kind: str
    text: str
    thought: tuple[ThoughtPiece, ...]
    targets: tuple[int, ...]
    part: str = ""

    @property
    def thought_text(self) -> str:
        return "".join(piece.text for piece in self.thought)


def mirror(objects: Sequence[SceneObject], width_px: int) -> list[SceneObject]:
    """The objects of the scene seen in a left-right mirror."""
    flipped = []
    for item in objects:
        x1, y1, x2, y2 = item.box_xyxy
        x, y = item.point_xy
        position_m = (-item.position_m[0], *item.position_m[1:])
        box = (width_px - x2, y1, width_px - x1, y2) if item.area_px else item.box_xyxy
        point = (width_px - 1 - x, y)
        flipped.append(replace(item, box_xyxy=box, point_xy=point, position_m=position_m, yaw_rad=-item.yaw_rad))
    return flipped


class ClearObjects:
    """The objects as the image shows them: which are clearly visible, where, and how they compare."""

    def __init__(self, objects: Sequence[SceneObject], size_wh: tuple[int, int]) -> None:
        self.width, self.height = size_wh
        seen = [item for item in objects if item.area_px > 0]
        least_px = MIN_AREA_SHARE * self.width * self.height
        self.clear = [o for o in seen if o.visible_share >= MIN_VISIBLE_SHARE and o.area_px >= least_px]
        self.doubtful = [o for o in seen if o not in self.clear]
        self.clear.sort(key=self.x)
        self.present = {o.category for o in seen}

    def x(self, item: SceneObject) -> float:
        """Centre of the box, 0 (left) to 1."""
        return (item.box_xyxy[0] + item.box_xyxy[2]) / 2 / self.width

    def near(self, item: SceneObject) -> float:
        """How low the object's foot is in the image, 0 to 1: on a table, lower is nearer."""
        return item.box_xyxy[3] / self.height

    def of_color(self, color: str) -> list[SceneObject] | None:
        """The objects of that colour; None if one is not clear, or another has a part of that colour."""
        seen = (*self.clear, *self.doubtful)
        if any(o.color != color and color in knowledge.SECONDARY_COLORS.get(o.category, ()) for o in seen):
            return None
        return self.all_of(lambda o: o.color == color)

    def where(self, item: SceneObject) -> str:
        y = (item.box_xyxy[1] + item.box_xyxy[3]) / 2 / self.height
        across = "left" if self.x(item) < 0.38 else "right" if self.x(item) > 0.62 else "middle"
        return f"{across} {'back' if y < 0.38 else 'front' if y > 0.62 else 'center'}"

    def describe(self, item: SceneObject) -> str:
        return f" {item.color} {item.category} {self.where(item)}"

    def all_of(self, test: Callable[[SceneObject], bool]) -> list[SceneObject] | None:
        """The objects that pass, from left to right; None if one that passes is not clearly seen."""
        return None if any(test(o) for o in self.doubtful) else [o for o in self.clear if test(o)]

    def winner(
        self, items: Sequence[SceneObject], value: Callable[[SceneObject], float], gap: float = 0.0, ratio: float = 1.0
    ) -> SceneObject | None:
        """The one with the largest value if it leads the second by the gap and by the ratio."""
        if len(items) < 2:
            return None
        first, second = sorted(items, key=value, reverse=True)[:2]
        return first if value(first) >= max(value(second) + gap, value(second) * ratio) else None

    def beside(self, anchor: SceneObject, side: str) -> list[SceneObject] | None:
        """Who is on that side of the anchor; None where anybody is on the border."""
        sign, value, near_px, far_px = SIDES[side]
        found = []
        for item in (*self.clear, *self.doubtful):
            if item is anchor:
                continue
            ahead = sign * (getattr(self, value)(item) - getattr(self, value)(anchor))
            if near_px < ahead < far_px or (ahead >= far_px and item in self.doubtful):
                return None
            if ahead >= far_px:
                found.append(item)
        return sorted(found, key=self.x)


# Side: sign, coordinate, and the two bounds (shares of the image) between which it is open to doubt.
SIDES = {
    "left of": (-1, "x", 0.02, 0.07),
    "right of": (1, "x", 0.02, 0.07),
    "in front of": (1, "near", 0.03, 0.10),
    "behind": (-1, "near", 0.03, 0.10),
}
EDGES: dict[str, tuple[Callable[[ClearObjects, SceneObject], float], float]] = {
    "leftmost": (lambda view, o: -view.x(o), 0.05),
    "rightmost": (lambda view, o: view.x(o), 0.05),
    "nearest": (lambda view, o: view.near(o), 0.07),
    "farthest": (lambda view, o: -view.near(o), 0.07),
}
MEASURES = {
    "tallest": (lambda o: o.size_m[2], 1.25),
    "longest": (lambda o: max(o.size_m), 1.2),
    "largest": (lambda o: o.size_m[0] * o.size_m[1] * o.size_m[2], 1.6),
    "smallest": (lambda o: 1 / (o.size_m[0] * o.size_m[1] * o.size_m[2]), 1.6),
    "roundest": (lambda o: min(o.size_m) / max(o.size_m), 1.25),
}


def generate(
    objects: Sequence[SceneObject],
    rng: random.Random,
    kind: str | None = None,
    phrasing: str = "train",
    *,
    size_wh: tuple[int, int] = (320, 240),
) -> SceneQuestion | None:
    """One question about the scene, or None if the draw has no clear answer (draw again).

    `phrasing` is one of `sentences.PHRASINGS`: sentences of the others than `train` are never trained on.
    """
    view = ClearObjects(objects, size_wh)
    if not view.clear:
        return None
    kind = kind or rng.choice(KINDS)
    question = MAKERS[kind](view, rng, phrasing)
    if question is None or len(question.targets) > MAX_TARGETS:
        return None
    return question


def generate_part(
    objects: Sequence[SceneObject],
    parts: Sequence[ScenePart],
    rng: random.Random,
    *,
    size_wh: tuple[int, int] = (320, 240),
) -> SceneQuestion | None:
    """A question about a part of an object that is there once, or None."""
    view = ClearObjects(objects, size_wh)
    category, part, texts = rng.choice(knowledge.PART_QUESTIONS)
    owners = view.all_of(lambda o: o.category == category)
    if not owners or len(owners) != 1:
        return None
    shown_px = sum(p.area_px for p in parts if p.instance_id == owners[0].instance_id and p.name == part)
    if shown_px < MIN_AREA_SHARE * size_wh[0] * size_wh[1]:
        return None
    why = ThoughtPiece(f"the {part} belongs to the {category}.", (owners[0].instance_id,))
    return SceneQuestion(PART_KIND, rng.choice(texts), (why, *_shown(view, owners)), (owners[0].instance_id,), part)


def corpus() -> Iterator[str]:
    """Text in which every word of questions and thoughts occurs, for training a tokenizer."""
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


def _ids(items: Sequence[SceneObject]) -> tuple[int, ...]:
    return tuple(o.instance_id for o in items)


def _shown(view: ClearObjects, items: Sequence[SceneObject]) -> tuple[ThoughtPiece, ...]:
    """Each object described, looked at one by one."""
    last = len(items) - 1
    return tuple(
        ThoughtPiece(view.describe(o) + ("." if k == last else ","), (o.instance_id,)) for k, o in enumerate(items)
    )


def _found(kind: str, text: str, view: ClearObjects, why: str, targets: Sequence[SceneObject]) -> SceneQuestion:
    return SceneQuestion(kind, text, (ThoughtPiece(why + ":", _ids(targets)), *_shown(view, targets)), _ids(targets))


def _nothing(text: str, *pieces: ThoughtPiece) -> SceneQuestion:
    return SceneQuestion("none", text, (*pieces, ThoughtPiece(" nothing fits.", ())), ())


def _task_text(category: str, rng: random.Random, phrasing: str) -> str:
    tasks = knowledge.TASKS[category]
    return sentences.phrase("task", rng, phrasing, task=rng.choice(tasks[-3:] if phrasing == "unseen" else tasks[:-3]))


def _shared(rng: random.Random, phrasing: str) -> tuple[tuple[str, ...], str, str]:
    """Categories, reason and task of a task that several categories serve."""
    categories, reason, tasks = rng.choice(knowledge.SHARED_TASKS)
    return categories, reason, rng.choice(tasks[-2:] if phrasing == "unseen" else tasks[:-2])


def _function(view: ClearObjects, rng: random.Random, phrasing: str) -> SceneQuestion | None:
    category = rng.choice(view.clear).category
    targets = view.all_of(lambda o: o.category == category)
    if not targets or len(targets) != 1:
        return None
    return _found("function", _task_text(category, rng, phrasing), view, knowledge.REASONS[category], targets)


def _attribute(view: ClearObjects, rng: random.Random, phrasing: str) -> SceneQuestion | None:
    chosen = rng.choice(view.clear)
    by_color_alone = rng.random() < 0.4
    if by_color_alone:
        targets = view.of_color(chosen.color)
    else:
        targets = view.all_of(lambda o: o.color == chosen.color and o.category == chosen.category)
    if not targets or len(targets) != 1:
        return None
    name = rng.choice(("thing", "object", "one")) if by_color_alone else chosen.category
    text = sentences.phrase("goal", rng, phrasing, goal=f"the {chosen.color} {name}")
    return _found("attribute", text, view, f"the {chosen.color} {'one' if by_color_alone else name}", targets)


def _anchor(
    view: ClearObjects, rng: random.Random, phrasing: str, by_task: bool
) -> tuple[SceneObject, str, str] | None:
    """An object that is there once, how to name it in a question, and the thought's first words about it."""
    anchor = rng.choice(view.clear)
    same = view.all_of(lambda o: o.category == anchor.category)
    if not same or len(same) != 1:
        return None
    if not by_task:
        color = f"{anchor.color} " if rng.random() < 0.3 else ""
        return anchor, f"the {color}{anchor.category}", "first"
    tasks = knowledge.TASKS[anchor.category]
    task = rng.choice(tasks[-3:] if phrasing == "unseen" else tasks[:-3])
    return anchor, f"the thing to {task}", knowledge.REASONS[anchor.category]


def _beside_anchor(
    kind: str, view: ClearObjects, rng: random.Random, phrasing: str, by_task: bool
) -> SceneQuestion | None:
    found = _anchor(view, rng, phrasing, by_task)
    if found is None:
        return None
    anchor, name, why = found
    side = rng.choice(tuple(SIDES))
    targets = view.beside(anchor, side)
    if targets is None or len(targets) != 1:
        return None
    text = sentences.phrase("place", rng, phrasing, place=f"{side} {name}")
    thought = (
        ThoughtPiece(f"{why}:", (anchor.instance_id,)),
        *_shown(view, [anchor]),
        ThoughtPiece(f" {side} it:", _ids(targets)),
        *_shown(view, targets),
    )
    return SceneQuestion(kind, text, thought, _ids(targets))


def _relation(view: ClearObjects, rng: random.Random, phrasing: str) -> SceneQuestion | None:
    if rng.random() < 0.6:
        return _beside_anchor("relation", view, rng, phrasing, by_task=False)
    edge = rng.choice(tuple(EDGES))
    value, gap = EDGES[edge]
    target = None if view.doubtful else view.winner(view.clear, lambda o: value(view, o), gap=gap)
    if target is None:
        return None
    text = sentences.phrase("goal", rng, phrasing, goal=f"the {edge} {rng.choice(('thing', 'object', 'one'))}")
    return _found("relation", text, view, f"the {edge}", [target])


def _comparison(view: ClearObjects, rng: random.Random, phrasing: str) -> SceneQuestion | None:
    measure = rng.choice(tuple(MEASURES))
    value, ratio = MEASURES[measure]
    target = None if view.doubtful else view.winner(view.clear, value, ratio=ratio)
    if target is None:
        return None
    text = sentences.phrase("goal", rng, phrasing, goal=f"the {measure} {rng.choice(('thing', 'object', 'one'))}")
    return _found("comparison", text, view, f"the {measure}", [target])


def _multi_step(view: ClearObjects, rng: random.Random, phrasing: str) -> SceneQuestion | None:
    if rng.random() < 0.4:
        return _beside_anchor("multi_step", view, rng, phrasing, by_task=True)
    categories, reason, task = _shared(rng, phrasing)
    candidates = view.all_of(lambda o: o.category in categories)
    if not candidates or len(candidates) < 2:
        return None
    how = rng.choice(("color", "leftmost", "rightmost", "tallest", "smallest"))
    target: SceneObject | None
    if how == "color":
        target = rng.choice(candidates)
        if [o.color for o in candidates].count(target.color) != 1:
            return None
        how = target.color
    elif how in EDGES:
        value, gap = EDGES[how]
        target = view.winner(candidates, lambda o: value(view, o), gap=gap)
    else:
        measure, ratio = MEASURES[how]
        target = view.winner(candidates, measure, ratio=ratio)
    if target is None:
        return None
    text = sentences.phrase("task", rng, phrasing, task=task).rstrip("?") + rng.choice(
        (f", the {how} one", f" with the {how} one", f", take the {how} one")
    )
    thought = (
        ThoughtPiece(reason + ":", _ids(candidates)),
        *_shown(view, candidates),
        ThoughtPiece(f" the {how}:", (target.instance_id,)),
        *_shown(view, [target]),
    )
    return SceneQuestion("multi_step", text, thought, (target.instance_id,))


def _several(view: ClearObjects, rng: random.Random, phrasing: str) -> SceneQuestion | None:
    draw = rng.random()
    if draw < 0.4:
        color = rng.choice(view.clear).color
        targets = view.of_color(color)
        words = rng.choice((f"everything that is {color}", f"all {color} things", f"all the {color} objects"))
        text, why = sentences.phrase("goal", rng, phrasing, goal=words), f"all {color} things"
    elif draw < 0.8:
        categories, why, task = _shared(rng, phrasing)
        targets = view.all_of(lambda o: o.category in categories)
        text = sentences.phrase("task", rng, phrasing, task=task)
    else:
        category = rng.choice(view.clear).category
        targets = view.all_of(lambda o: o.category == category)
        text, why = _task_text(category, rng, phrasing), knowledge.REASONS[category]
    if not targets or len(targets) < 2:
        return None
    return _found("several", text, view, why, targets)


def _none(view: ClearObjects, rng: random.Random, phrasing: str) -> SceneQuestion | None:
    absent = [c for c in CATEGORIES if c not in view.present]
    draw = rng.random()
    if draw < 0.4 and absent:
        category = rng.choice(absent)
        why = ThoughtPiece(f"{knowledge.REASONS[category]}. no {category} here.", ())
        return _nothing(_task_text(category, rng, phrasing), why)
    seen = [*view.clear, *view.doubtful]
    if draw < 0.6:
        category, color = rng.choice(seen).category, rng.choice(COLORS)
        same = view.all_of(lambda o: o.category == category)
        if not same or any(o.color == color for o in same):
            return None
        text = sentences.phrase("goal", rng, phrasing, goal=f"the {color} {category}")
        return _nothing(text, ThoughtPiece(f"the {color} {category}:", _ids(same)), *_shown(view, same))
    if draw < 0.75:
        color = rng.choice(COLORS)
        if view.of_color(color) != []:
            return None
        words = rng.choice((f"the {color} {rng.choice(('thing', 'object', 'one'))}", f"everything that is {color}"))
        return _nothing(
            sentences.phrase("goal", rng, phrasing, goal=words), ThoughtPiece(f"nothing here is {color}.", ())
        )
    if draw < 0.85 and absent:
        category, side = rng.choice(absent), rng.choice(tuple(SIDES))
        text = sentences.phrase("place", rng, phrasing, place=f"{side} the {category}")
        return _nothing(text, ThoughtPiece(f"first: no {category} here.", ()))
    found = _anchor(view, rng, phrasing, by_task=False)
    if found is None:
        return None
    anchor, name, why_first = found
    side = rng.choice(tuple(SIDES))
    if view.beside(anchor, side) != []:
        return None
    text = sentences.phrase("place", rng, phrasing, place=f"{side} {name}")
    first = ThoughtPiece(f"{why_first}:", (anchor.instance_id,))
    return _nothing(text, first, *_shown(view, [anchor]), ThoughtPiece(f" nothing is {side} it.", ()))


def _unknown(view: ClearObjects, rng: random.Random, phrasing: str) -> SceneQuestion | None:
    text = rng.choice(unknown.TEST if phrasing == "unseen" else unknown.DEVELOPMENT)
    return SceneQuestion(UNKNOWN_KIND, text, (ThoughtPiece("nothing like it is here. nothing fits.", ()),), ())


def vocabulary() -> list[str]:
    """The words that occur in what the embedded reasoner is trained on, sorted."""
    return sorted({word for text in corpus() for word in words_of(text)})


MAKERS: dict[str, Callable[[ClearObjects, random.Random, str], SceneQuestion | None]] = {
    "function": _function,
    "attribute": _attribute,
    "relation": _relation,
    "comparison": _comparison,
    "multi_step": _multi_step,
    "several": _several,
    "none": _none,
    UNKNOWN_KIND: _unknown,
}

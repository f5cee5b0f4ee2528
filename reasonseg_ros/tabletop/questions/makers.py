"""One function per kind of question about a scene. Each returns None if its draw has no clear answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from reasonseg_ros.tabletop.questions import knowledge, sentences, unknown
from reasonseg_ros.tabletop.questions.clear_objects import EDGES, MEASURES, SIDES, ClearObjects
from reasonseg_ros.tabletop.questions.question import UNKNOWN_KIND, SceneQuestion, ThoughtPiece
from reasonseg_ros.tabletop.questions.wide import WIDE_SHARED_TASKS, WIDE_TASKS
from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS, SceneObject


def _ids(items: Sequence[SceneObject]) -> tuple[int, ...]:
    return tuple(o.instance_id for o in items)


def looked_at(view: ClearObjects, items: Sequence[SceneObject]) -> tuple[ThoughtPiece, ...]:
    """Pieces of a thought that describe the objects one by one."""
    last = len(items) - 1
    return tuple(
        ThoughtPiece(view.describe(o) + ("." if k == last else ","), (o.instance_id,)) for k, o in enumerate(items)
    )


def _found(kind: str, text: str, view: ClearObjects, why: str, targets: Sequence[SceneObject]) -> SceneQuestion:
    return SceneQuestion(kind, text, (ThoughtPiece(why + ":", _ids(targets)), *looked_at(view, targets)), _ids(targets))


def _nothing(text: str, *pieces: ThoughtPiece) -> SceneQuestion:
    return SceneQuestion("none", text, (*pieces, ThoughtPiece(" nothing fits.", ())), ())


def _task(category: str, rng: random.Random, phrasing: str) -> str:
    tasks = knowledge.TASKS[category]
    if phrasing in sentences.HELD_OUT:
        return rng.choice(tasks[-3:])
    return rng.choice(tasks[:-3] + (WIDE_TASKS[category] if phrasing == "wide" else ()))


def _task_text(category: str, rng: random.Random, phrasing: str) -> str:
    return sentences.phrase("task", rng, phrasing, task=_task(category, rng, phrasing))


def _shared(rng: random.Random, phrasing: str) -> tuple[tuple[str, ...], str, str]:
    """Categories, reason and sentence of a task that fits several categories."""
    row = rng.randrange(len(knowledge.SHARED_TASKS))
    categories, reason, tasks = knowledge.SHARED_TASKS[row]
    if phrasing in sentences.HELD_OUT:
        return categories, reason, rng.choice(tasks[-2:])
    return categories, reason, rng.choice(tasks[:-2] + (WIDE_SHARED_TASKS[row] if phrasing == "wide" else ()))


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
    """An object of a unique category, its name in a question, and the first words of the thought about it."""
    anchor = rng.choice(view.clear)
    same = view.all_of(lambda o: o.category == anchor.category)
    if not same or len(same) != 1:
        return None
    if not by_task:
        color = f"{anchor.color} " if rng.random() < 0.3 else ""
        return anchor, f"the {color}{anchor.category}", "first"
    task = _task(anchor.category, rng, phrasing)
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
        *looked_at(view, [anchor]),
        ThoughtPiece(f" {side} it:", _ids(targets)),
        *looked_at(view, targets),
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
        *looked_at(view, candidates),
        ThoughtPiece(f" the {how}:", (target.instance_id,)),
        *looked_at(view, [target]),
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
        return _nothing(text, ThoughtPiece(f"the {color} {category}:", _ids(same)), *looked_at(view, same))
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
    return _nothing(text, first, *looked_at(view, [anchor]), ThoughtPiece(f" nothing is {side} it.", ()))


def _unknown(view: ClearObjects, rng: random.Random, phrasing: str) -> SceneQuestion | None:
    phrases = unknown.TEST if phrasing in sentences.HELD_OUT else unknown.DEVELOPMENT
    text = rng.choice(unknown.TRAINED if phrasing == "wide" else phrases)
    return SceneQuestion(UNKNOWN_KIND, text, (ThoughtPiece("nothing like it is here. nothing fits.", ()),), ())


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

"""Questions have exactly their answer, say why, and never name what they must not name."""

import random
import re

import pytest

from reasonseg_ros.tabletop.questions import everyday, knowledge, sentences
from reasonseg_ros.tabletop.questions.corpus import corpus
from reasonseg_ros.tabletop.questions.generation import generate, generate_part
from reasonseg_ros.tabletop.questions.question import KINDS
from reasonseg_ros.tabletop.questions.wide import WIDE_SHARED_TASKS, WIDE_TASKS
from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS, SceneObject, ScenePart, mirror


def item(instance_id, category, color, box_xyxy, *, visible_share=1.0, height_m=0.1, size_m=None):
    x1, y1, x2, y2 = box_xyxy
    return SceneObject(
        instance_id, category, color, (x1 / 500, y1 / 500, height_m / 2), size_m or (0.1, 0.08, height_m),
        (x2 - x1) * (y2 - y1) // 2, visible_share, box_xyxy, ((x1 + x2) // 2, (y1 + y2) // 2), 0.8,
    )  # fmt: skip


SCENE = [
    item(1, "mug", "red", (20, 100, 50, 130)),
    item(2, "bottle", "red", (90, 60, 115, 130), height_m=0.22),
    item(3, "banana", "yellow", (180, 150, 230, 175), height_m=0.03),
    item(4, "can", "blue", (260, 40, 285, 80), height_m=0.12),
]


def many(objects, kind, count=300, phrasing="train"):
    rng = random.Random(3)
    drawn = (generate(objects, rng, kind, phrasing) for _ in range(count))
    return [question for question in drawn if question]


@pytest.mark.parametrize("phrasing", sentences.PHRASINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_asked(kind, phrasing):
    asked = many(SCENE, kind, phrasing=phrasing)
    assert asked
    for question in asked:
        assert question.kind == kind
        assert (question.targets == ()) == (kind == "none")
        assert question.thought_text and question.text.strip()
        named = {i for piece in question.thought for i in piece.attends}
        assert set(question.targets) <= named


def test_function_questions_never_name_the_object():
    for category, tasks in knowledge.TASKS.items():
        assert not any(category in task.split() for task in tasks), category
    for (categories, _, tasks), more in zip(knowledge.SHARED_TASKS, WIDE_SHARED_TASKS, strict=True):
        assert not any(category in task.split() for category in categories for task in (*tasks, *more))
    for category, tasks in WIDE_TASKS.items():
        assert not any(category in task.split() for task in tasks), category


def test_wide_adds_tasks_and_repeats_none():
    for category, tasks in WIDE_TASKS.items():
        assert len({*knowledge.TASKS[category], *tasks}) == len(knowledge.TASKS[category]) + len(tasks)
    for (_, _, tasks), more in zip(knowledge.SHARED_TASKS, WIDE_SHARED_TASKS, strict=True):
        assert len({*tasks, *more}) == len(tasks) + len(more)
    asked = {
        phrasing: " ".join(q.text for q in many(SCENE, "function", 2000, phrasing)) for phrasing in ("train", "wide")
    }
    added = [task for tasks in WIDE_TASKS.values() for task in tasks]
    assert any(task in asked["wide"] for task in added)
    assert not any(task in asked["train"] for task in added)


def test_slips_of_the_fingers_change_one_or_two_long_words():
    text = "show me the red thing to drink from"
    slipped = [sentences.misspell(text, random.Random(seed)).split() for seed in range(200)]
    changed = [[old for old, new in zip(text.split(), words, strict=True) if old != new] for words in slipped]
    assert {len(words) for words in changed} <= {0, 1, 2} and max(map(len, changed)) == 2
    assert {word for words in changed for word in words} == {"show", "thing", "drink", "from"}
    assert all(abs(len(new) - len(old)) <= 1 for words in slipped for old, new in zip(text.split(), words, strict=True))
    assert sentences.misspell("빨간 컵을 보여줘 now", random.Random(0)) == "빨간 컵을 보여줘 now"


@pytest.mark.parametrize("held_out", sentences.HELD_OUT)
@pytest.mark.parametrize("phrasing", ["train", "wide"])
def test_unseen_tasks_and_sentences_are_kept_from_training(phrasing, held_out):
    trained = {question.text for question in many(SCENE, "function", 2000, phrasing)}
    unseen = {question.text for question in many(SCENE, "function", 500, held_out)}
    assert unseen and not trained & unseen
    held_back = [task for tasks in knowledge.TASKS.values() for task in tasks[-3:]]
    assert not any(task in text for task in held_back for text in trained)
    assert any(task in text for task in held_back for text in unseen)


def frames(phrasing):
    """The words of each sentence, whatever its marks."""
    texts = {**sentences.OTHERS, **sentences.TO_TRAIN_ON}[phrasing]
    return [(form, " ".join(re.findall(r"[\w{}]+", text))) for form in texts for text in texts[form]]


def test_no_two_phrasings_share_a_sentence():
    added = {*frames("wide")} - {*frames("train")}
    lists = [added, *({*frames(name)} for name in sentences.PHRASINGS if name != "wide")]
    assert len(set().union(*lists)) == sum(map(len, lists))
    assert all(len(frames(name)) == len({*frames(name)}) for name in sentences.PHRASINGS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_everyday_question_has_its_group(kind):
    for question in many(SCENE, kind, 100, "everyday"):
        group = everyday.GROUPS[everyday.group_of(question.text)]
        starts = [text.partition("{")[0] for texts in group.values() for text in texts]
        assert question.text.startswith(tuple(starts))


def test_wide_asks_in_more_ways_and_everyday_in_other_scripts():
    assert {*frames("train")} < {*frames("wide")} and len(frames("wide")) > 2 * len(frames("train"))
    texts = [question.text for question in many(SCENE, "attribute", 500, "everyday")]
    assert any("\uac00" <= letter <= "\ud7a3" for letter in "".join(texts))
    assert any("\u4e00" <= letter <= "\u9fff" for letter in "".join(texts))


def test_answers_are_right_on_a_known_scene():
    for question in many(SCENE, "several"):
        assert question.targets in {(1, 2), (1, 2, 4)}  # the red things; things to drink from
    tallest = {q.targets for q in many(SCENE, "comparison") if "tallest" in q.text}
    assert tallest == {(2,)}
    left_of_bottle = [q for q in many(SCENE, "relation", 2000) if "left of the bottle" in q.text]
    assert left_of_bottle and all(q.targets == (1,) for q in left_of_bottle)
    assert {q.targets for q in many(SCENE, "relation") if "rightmost" in q.text} == {(4,)}


def test_a_half_hidden_object_makes_its_questions_ambiguous():
    hidden = [*SCENE, item(5, "mug", "green", (200, 60, 215, 70), visible_share=0.2)]
    assert not any(1 in q.targets for q in many(hidden, "function"))
    assert not many(hidden, "comparison")  # who is tallest cannot be reported


def test_two_alike_are_several_not_one():
    twins = [*SCENE, item(5, "mug", "green", (250, 150, 280, 190))]
    assert not any(set(q.targets) & {1, 5} for q in many(twins, "function"))
    assert (1, 5) in {q.targets for q in many(twins, "several", 2000)}


def test_a_color_that_could_be_a_part_is_not_asked_for():
    with_flashlight = [*SCENE, item(5, "flashlight", "green", (250, 150, 280, 190))]  # its head is dark
    assert any("everything that is purple" in q.text for q in many(with_flashlight, "none", 2000))
    assert not any("everything that is black" in q.text for q in many(with_flashlight, "none", 2000))
    assert not any("black" in q.text for q in many(with_flashlight, "attribute", 2000))


def test_a_close_contest_is_not_asked():
    close = [
        item(1, "mug", "red", (20, 100, 50, 130), height_m=0.1),
        item(2, "can", "blue", (100, 100, 130, 140), height_m=0.11),
    ]
    assert not any("tallest" in q.text for q in many(close, "comparison"))


def test_mirror_swaps_left_and_right_and_is_its_own_inverse():
    flipped = mirror(SCENE, 320)
    assert flipped[0].box_xyxy == (270, 100, 300, 130)
    assert [o.box_xyxy for o in mirror(flipped, 320)] == [o.box_xyxy for o in SCENE]
    assert {q.targets for q in many(flipped, "relation") if "rightmost" in q.text} == {(1,)}


def test_same_draw_same_question():
    first = generate(SCENE, random.Random(5), "function")
    assert first == generate(SCENE, random.Random(5), "function")


def test_an_empty_table_has_no_question():
    assert generate([], random.Random(0)) is None


def test_part_questions_need_the_part_to_show():
    handle = ScenePart(3, 1, "handle", 120, (45, 105, 55, 125), (50, 115))
    rng = random.Random(0)
    asked = [q for q in (generate_part(SCENE, [handle], rng) for _ in range(300)) if q]
    assert asked and all((q.kind, q.targets, q.part) == ("part", (1,), "handle") for q in asked)
    assert not any(generate_part(SCENE, [], rng) for _ in range(100))


def test_every_category_and_color_is_in_the_corpus():
    words = set(" ".join(corpus()).replace(",", " ").replace(".", " ").split())
    assert set(CATEGORIES) | set(COLORS) <= words

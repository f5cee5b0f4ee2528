import pytest

from reasonseg_ros.tabletop.questions.question import SceneQuestion, ThoughtPiece
from reasonseg_ros.training.reasoner.examples import boxes_and_points
from reasonseg_ros.training.reasoner.images import view
from reasonseg_ros.training.reasoner.validation import draw_questions, judge_text, scene_summary
from reasonseg_ros.training.rendered.scenes import SceneFiles


def said(items, thought="look."):
    listed = ",".join(
        '{"bbox_2d":[%d,%d,%d,%d],"point_2d":[%d,%d]}' % item  # noqa: UP031
        for item in items
    )
    return f"<think>{thought}</think><answer>[{listed}]</answer>"


def shifted(item):
    return (item[0] + 1, *item[1:])


@pytest.mark.parametrize(
    ("targets", "spoken", "right"),
    [
        ((1, 3), (1, 3), True),
        ((1, 3), (3, 1), True),
        ((1, 3), (1,), False),
        ((1,), (1, 3), False),
        ((1, 3), (1, 1), False),
        ((1,), (2,), False),
        ((1,), (), False),
        ((), (), True),
        ((), (2,), False),
    ],
)
def test_right_means_exactly_the_targets(targets, spoken, right, make_scene):
    scene = view(make_scene(4))
    question = SceneQuestion("several", "which?", (ThoughtPiece("look.", targets),), targets)
    spoken_boxes = boxes_and_points(scene, SceneQuestion("several", "", (), spoken))
    outcome = judge_text(scene, question, said([shifted(item) for item in spoken_boxes]))
    assert outcome.right is right
    assert outcome.parseable and outcome.thought_right
    if right and targets:
        assert min(outcome.ious) > 0.85 and outcome.points_inside == 1


def test_a_box_between_the_objects_is_not_right(make_scene):
    scene = view(make_scene(4))
    question = SceneQuestion("function", "which?", (ThoughtPiece("look.", (1,)),), (1,))
    assert not judge_text(scene, question, said([(0, 0, 224, 168, 112, 84)])).right


def test_garbage_is_neither_parseable_nor_right(make_scene):
    scene = view(make_scene(4))
    outcome = judge_text(scene, SceneQuestion("none", "which?", (ThoughtPiece("look.", ()),), ()), "a red mug, i think")
    assert not outcome.parseable and not outcome.right


def test_a_summary_counts_missing_boxes_as_zero(make_scene):
    scene = view(make_scene(4))
    question = SceneQuestion("several", "which?", (ThoughtPiece("look.", (1, 3)),), (1, 3))
    boxes = boxes_and_points(scene, question)
    values = scene_summary([judge_text(scene, question, said(boxes)), judge_text(scene, question, said([]))])
    assert values["right_target"] == 0.5 and values["false_nothing"] == 0.5
    assert 0.4 < values["box_iou"] <= 0.5


def test_kinds_take_turns(scene_folder):
    drawn = draw_questions(SceneFiles(scene_folder), 8, "train", 0, ("attribute", "none"))
    assert [question.kind for _, question in drawn] == ["attribute", "none"] * 4

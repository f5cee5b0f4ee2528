from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros import msg
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.questions import Outcome, Question, failed_outcome
from reasonseg_ros.ros import conversion
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Region, Segmentation, Status

FRAME = Frame(np.zeros((6, 8, 3), np.uint8), 7_000_000_008, "optical")


def region(rows, columns, score=0.5, label=""):
    mask = np.zeros((6, 8), bool)
    mask[rows, columns] = True
    box = np.array([0, 0, 3, 3], np.float32)
    grounding = Grounding(box, np.array([[1, 2]], np.float32), label=label)
    return Region(mask, box, grounding, score, 0.25, 1.0, 2, 3, raw_mask=~mask)


def outcome(*regions):
    answer = Answer(Status.OK, "because", tuple(one.grounding for one in regions), "<raw>", model="m", tokens=4)
    query = Query("what?", "q7")
    seconds = {"reasoning": 1, "segmenting": 2}  # ints on purpose: they must become floats
    return Outcome(Question(query, lambda _: None), Segmentation(FRAME, query, answer, regions, seconds), 3)


@pytest.mark.parametrize("encoding", ["png", "rle"])
def test_an_answer_comes_back_as_it_went(encoding):
    first, second = region(slice(1, 3), slice(2, 5), label="mug"), region(slice(0, 6), slice(6, 8), 1.0)
    message = conversion.segmentation_message(outcome(first, second), encoding)
    for mask, sent in zip(conversion.masks_from(message), (first, second), strict=True):
        np.testing.assert_array_equal(mask, sent.mask)
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (7, 8, "optical")
    assert (message.width, message.height, message.query_id, message.question) == (8, 6, "q7", "what?")
    assert (message.status, message.thought, message.error) == ("ok", "because", "")
    assert (message.reasoning_s, message.segmenting_s, message.total_s) == (1.0, 2.0, 3.0)
    got = message.regions[0]
    assert (got.id, got.label, got.mask_score, got.box_iou, got.holes, got.fragments) == (1, "mug", 0.5, 0.25, 2, 3)
    assert (got.mask.x_offset, got.mask.y_offset, got.mask.encoding) == (2, 1, encoding)
    assert (got.grounding_box.x2, got.grounding_points[0].y) == (3.0, 2.0)
    assert got.raw_mask.crop_width == 8


@pytest.mark.parametrize(("reasoned_ns", "stamp"), [(None, (7, 8)), (0, (0, 0)), (3_000_000_004, (3, 4))])
def test_the_image_that_was_reasoned_on_is_named_also_if_its_stamp_is_0(reasoned_ns, stamp):
    found = outcome(region(0, 0))
    found = replace(found, result=replace(found.result, reasoned_stamp_ns=reasoned_ns))
    message = conversion.segmentation_message(found, "png")
    assert (message.reasoned_stamp.sec, message.reasoned_stamp.nanosec) == stamp


def test_a_failure_says_why_and_has_no_regions():
    outcome = failed_outcome(Question(Query("?"), print), Status.NO_FRAME, "no image")
    message = conversion.segmentation_message(outcome, "png")
    assert (message.status, message.error, len(message.regions)) == ("no_frame", "no image", 0)


@pytest.mark.parametrize(
    ("status", "alternative", "expected"),
    [
        (Status.UNSURE, (region(0, 0),), (True, [2])),
        (Status.UNSURE, (), (True, [])),
        (Status.UNSURE, None, (False, [])),
        (Status.OK, (region(0, 0),), (False, [])),
    ],
)
def test_the_second_candidate_is_sent_with_an_unsure_answer_alone(status, alternative, expected):
    found = outcome(region(slice(1, 3), slice(2, 5)))
    answer = replace(found.result.answer, status=status, error="why")
    found = replace(found, result=replace(found.result, answer=answer, alternative=alternative))
    message = conversion.segmentation_message(found, "png")
    assert (message.has_alternative, [one.id for one in message.alternative]) == expected
    assert len(message.regions) == 1


def test_the_final_reasoning_holds_the_whole_text():
    message = conversion.reasoning_message(outcome(region(0, 0)))
    assert (message.done, message.text, message.model, message.tokens) == (True, "<raw>", "m", 4)
    assert message.elapsed_s == 3.0


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        ("", ""),
        ("<think>", ""),
        ("<think> it is", "it is"),
        ("<think>it is</think><answer>[", "it is"),
        ("it is</think><answer>", "it is"),  # templates that put the opening tag into the prompt
        ('[{"bbox_2d"', ""),
    ],
)
def test_the_thought_is_found_while_the_text_grows(text, thought):
    assert conversion.thought_so_far(text) == thought


def test_small_regions_lie_on_top_of_the_label_mask():
    large, small = region(slice(0, 6), slice(0, 8), 0.9), region(slice(1, 3), slice(1, 3), 0.4)
    for regions, inner, outer in (((large, small), 2, 1), ((small, large), 1, 2)):
        labels = conversion.label_image(regions, (8, 6))
        assert (labels[1, 1], labels[5, 7]) == (inner, outer)
    confidence = conversion.confidence_image((large, small), (8, 6))
    assert set(np.unique(confidence)) == {round(0.9 * 255)}
    assert conversion.label_image([region(0, 0)] * 300, (8, 6))[0, 0] == 255
    assert not conversion.confidence_image((), (8, 6)).any()


def test_prompts_are_clipped_to_the_image():
    boxes = [msg.Box(x1=-5.0, y1=1.0, x2=4.0, y2=99.0)]
    (grounding,) = conversion.groundings_from(boxes, [msg.Point2D(x=8.0, y=-1.0)], [], (8, 6))
    assert grounding.box_xyxy.tolist() == [0, 1, 4, 6]
    assert grounding.points_xy.tolist() == [[7, 0]]
    with pytest.raises(InvalidInput, match="neither box nor point"):
        conversion.groundings_from([], [], [], (8, 6))


@pytest.mark.parametrize(("x", "y"), [(9.5, 3.0), (3.0, -1.5), (1280.0, 720.0), (-1e9, 2.0)])
@pytest.mark.parametrize("labels", [[], [1]])
def test_a_point_outside_the_image_is_refused(x, y, labels):
    with pytest.raises(InvalidInput, match="lies outside the 8 x 6 image"):
        conversion.groundings_from([], [msg.Point2D(x=x, y=y)], labels, (8, 6))


def test_labelled_points_and_a_box_are_one_target():
    points = [msg.Point2D(x=2.0, y=2.0), msg.Point2D(x=5.0, y=4.0)]
    box = msg.Box(x1=1.0, y1=1.0, x2=7.0, y2=5.0)
    (grounding,) = conversion.groundings_from([box], points, [1, 0], (8, 6))
    assert grounding.has_box and grounding.box_xyxy.tolist() == [1, 1, 7, 5]
    assert (grounding.points_xy.tolist(), grounding.point_labels.tolist()) == ([[2, 2], [5, 4]], [1, 0])
    (grounding,) = conversion.groundings_from([], points, [1, 0], (8, 6))
    assert not grounding.has_box and grounding.box_xyxy.tolist() == [2, 2, 3, 3]
    assert grounding.point_labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("boxes", "labels", "reason"),
    [
        (0, [1], r"1 point_labels \[1\] for 2 points"),
        (0, [1, 2], "1 inside the target or 0 outside it"),
        (2, [1, 0], "2 boxes with point_labels"),
        (0, [0, 0], "no point inside the target"),
    ],
)
def test_labels_that_do_not_fit_are_refused(boxes, labels, reason):
    box = msg.Box(x1=1.0, y1=1.0, x2=7.0, y2=5.0)
    points = [msg.Point2D(x=2.0, y=2.0), msg.Point2D(x=5.0, y=4.0)]
    with pytest.raises(InvalidInput, match=reason):
        conversion.groundings_from([box] * boxes, points, labels, (8, 6))


@pytest.mark.parametrize(
    "corners", [(4, 1, 1, 5), (1, 5, 4, 1), (1, 1, 1, 5), (np.nan, 1, 4, 5), (1, 1, np.inf, 5)], ids=str
)
def test_a_box_with_its_corners_in_the_wrong_order_is_refused(corners):
    box = msg.Box(**dict(zip(("x1", "y1", "x2", "y2"), map(float, corners), strict=True)))
    with pytest.raises(InvalidInput, match="expected finite x1 < x2 and y1 < y2"):
        conversion.groundings_from([box], [], [], (8, 6))

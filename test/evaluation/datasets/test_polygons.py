import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.polygons import IGNORE, TARGET, draw_shapes

SIZE_WH = (60, 50)


def shape(label, *points):
    return {"label": label, "points": [list(point) for point in points]}


def box(label, x1, y1, x2, y2):
    return shape(label, (x1, y1), (x2, y1), (x2, y2), (x1, y2))


def crossings_inside(points):
    """Even-odd rule at the centre of every pixel, in plain numpy."""
    y, x = np.mgrid[: SIZE_WH[1], : SIZE_WH[0]].astype(float)
    inside = np.zeros(SIZE_WH[::-1], bool)
    for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


def test_boxes_include_their_outline():
    labels, broken = draw_shapes([box("target", 5, 6, 20, 15)], SIZE_WH)
    expected = np.zeros(SIZE_WH[::-1], np.uint8)
    expected[6:16, 5:21] = TARGET
    assert np.array_equal(labels, expected) and broken == ()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 49)), min_size=3, max_size=3, unique=True))
def test_triangles_cover_their_inside_and_little_more(points):
    mask = draw_shapes([shape("target", *points)], SIZE_WH)[0] == TARGET
    assert not (crossings_inside(points) & ~mask).any()
    corners = np.array(points, np.int32)
    away_px = [-cv2.pointPolygonTest(corners, (float(x), float(y)), True) for y, x in np.argwhere(mask)]
    assert max(away_px) < 0.75  # a line of one pixel may be half a pixel beside the true one


def test_smaller_polygons_lie_on_top_whatever_their_order():
    big, small = box("target", 2, 2, 40, 40), box("Ignored part", 10, 10, 20, 20)
    for shapes in ([big, small], [small, big]):
        labels, _ = draw_shapes(shapes, SIZE_WH)
        assert labels[15, 15] == IGNORE and labels[5, 5] == TARGET
        assert (labels == IGNORE).sum() == 11 * 11
        assert (labels == TARGET).sum() == 39 * 39 - 11 * 11
    labels, _ = draw_shapes([box("ignore", 2, 2, 40, 40), box("target", 10, 10, 20, 20)], SIZE_WH)
    assert (labels == TARGET).sum() == 11 * 11


def test_of_two_equal_areas_the_first_lies_on_top():
    labels, _ = draw_shapes([box("ignore", 10, 10, 20, 20), box("target", 15, 10, 25, 20)], SIZE_WH)
    assert labels[15, 17] == IGNORE


def test_flags_are_no_annotation_and_points_are_cut_to_integers():
    flag = box("FLAG", 0, 0, 59, 49)
    labels, broken = draw_shapes([flag, box("target", 5.9, 6.9, 20.9, 15.9)], SIZE_WH)
    assert (labels == TARGET).sum() == 16 * 10 and labels[6, 5] == TARGET and broken == ()
    labels, broken = draw_shapes([flag], SIZE_WH)
    assert not labels.any() and broken == ()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (shape("target"), "no list of"),
        (shape("target", (1, 1), (9, float("nan")), (3, 4)), "not a number of pixels"),
        (shape("target", (1, 1), (9, float("inf")), (3, 4)), "not a number of pixels"),
        (shape("target", (1, 1), (9, 1e12), (3, 4)), "not a number of pixels"),
        (shape("target", (1, 1), (9,), (3, 4)), "no list of"),
        (shape("target", ("a", "b"), ("c", "d"), ("e", "f")), "no list of"),
        (box("target", 100, 100, 120, 120), "outside the image of 60 x 50"),
        ({"label": "target"}, "no list of"),
        ({"points": [[1, 1], [5, 5], [1, 5]]}, "no label"),
        ("target", "no label"),
    ],
)
def test_broken_polygons_are_left_out_by_name(bad, reason):
    labels, (line,) = draw_shapes([box("target", 5, 6, 20, 15), bad], SIZE_WH)
    assert (labels == TARGET).sum() == 160
    assert "polygon 2" in line and reason in line
    with pytest.raises(InvalidInput, match="no usable target polygon"):
        draw_shapes([bad], SIZE_WH)


def test_a_broken_ignore_polygon_does_not_make_an_empty_target_suspicious():
    labels, (line,) = draw_shapes([shape("ignore", (-1, -1))], SIZE_WH)
    assert not labels.any() and "polygon 1 (ignore)" in line


def test_polygons_may_leave_the_image():
    labels, broken = draw_shapes([box("target", -10, -10, 4, 3)], SIZE_WH)
    assert (labels == TARGET).sum() == 5 * 4 and broken == ()


@pytest.mark.parametrize("label", ["target", "ignored part"])
@pytest.mark.parametrize(
    "points",
    [[(5, 6)], [(5.9, 6.9)], [(5, 6), (5, 6)], [(5, 6), (20, 6)], [(5.9, 40.2), (30.1, 2.8)], [(-9, 3), (9, 3)]],
)
def test_one_or_two_points_are_what_opencv_draws_of_them(label, points):
    """The published script calls polylines and fillPoly whatever the number of points."""
    expected = np.zeros(SIZE_WH[::-1], np.uint8)
    corners = np.array([points], dtype=np.int32)
    cv2.polylines(expected, corners, True, 1, 1)
    cv2.fillPoly(expected, corners, 1)
    assert expected.any()
    big = box("target", 0, 0, 59, 49)
    labels, broken = draw_shapes([shape(label, *points), big], SIZE_WH)
    assert broken == () and ((labels == IGNORE) == (label != "target") * expected.astype(bool)).all()
    labels, broken = draw_shapes([shape(label, *points)], SIZE_WH)
    assert np.array_equal(labels, expected * (TARGET if label == "target" else IGNORE)) and broken == ()


def typed(kind, *points):
    return {**shape("target", *points), "shape_type": kind}


def test_two_points_of_a_rectangle_are_its_corners():
    for corners in [((5, 6), (20, 15)), ((20, 15), (5, 6)), ((5, 15), (20, 6))]:
        labels, broken = draw_shapes([typed("rectangle", *corners)], SIZE_WH)
        assert np.array_equal(labels, draw_shapes([box("target", 5, 6, 20, 15)], SIZE_WH)[0]) and not broken
    four = typed("rectangle", (5, 6), (20, 6), (20, 15), (5, 15))
    assert np.array_equal(draw_shapes([four], SIZE_WH)[0], labels)


def test_two_points_of_a_circle_are_its_centre_and_a_point_on_it():
    labels, _ = draw_shapes([typed("circle", (30, 25), (36, 33))], SIZE_WH)
    y, x = np.mgrid[: SIZE_WH[1], : SIZE_WH[0]]
    distance = np.hypot(x - 30, y - 25)
    assert (labels[distance < 9.2] == TARGET).all() and not labels[distance > 10.8].any()


@pytest.mark.parametrize(
    "bad",
    [
        typed("mask", (5, 6), (20, 15)), typed("linestrip", (1, 1), (9, 1), (9, 9)), typed("circle", (1, 1)),
        typed("rectangle", (1, 1), (9, 1), (9, 9)), typed(7, (1, 1), (9, 1), (9, 9)),
    ],
)  # fmt: skip
def test_shapes_whose_points_are_no_corners_are_left_out_by_name(bad):
    labels, broken = draw_shapes([bad, box("target", 30, 30, 40, 40)], SIZE_WH)
    assert np.array_equal(labels, draw_shapes([box("target", 30, 30, 40, 40)], SIZE_WH)[0])
    assert len(broken) == 1 and "shape_type" in broken[0] and "draw it as a polygon" in broken[0]
    with pytest.raises(InvalidInput, match="shape_type"):
        draw_shapes([bad], SIZE_WH)

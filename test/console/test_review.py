"""Questions are accepted and rejected by hand; what a browser sends is checked."""

import asyncio
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from reasonseg_ros.console.review import PAGE, ReviewFolder, review_decision, review_page
from reasonseg_ros.data_engine.records import (
    DECISIONS_NAME,
    QUESTIONS_NAME,
    AnsweringObject,
    DataQuestion,
    read_decisions,
    write_lines,
)
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.files import write_image
from reasonseg_ros.images.run_lengths import rle_from_mask

COUNT = PAGE + 3


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "pictures/a.png", np.zeros((40, 60, 3), np.uint8))
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    target = AnsweringObject("<b>cup</b>", rle_from_mask(mask))
    questions = [
        DataQuestion(f"q{n}", "pictures/a.png", "a", "train", "simple", f"Which one? {n}", "That.", (target,))
        for n in range(COUNT)
    ]
    write_lines(tmp_path / QUESTIONS_NAME, questions)
    return tmp_path


def test_pages_hold_what_is_open_in_order(folder):
    review = ReviewFolder(folder)
    page = review.page("open", 0)
    assert [one["id"] for one in page["questions"]] == [f"q{n}" for n in range(PAGE)]
    assert page["counts"] == {"open": COUNT, "accepted": 0, "rejected": 0}
    assert [one["id"] for one in review.page("open", PAGE)["questions"]] == [f"q{n}" for n in range(PAGE, COUNT)]
    assert review.page("open", 10**6)["first"] == PAGE
    assert review.page("accepted", 5)["questions"] == []


def test_decisions_are_on_the_disk_and_come_back(folder):
    review = ReviewFolder(folder)
    review.decide("q1", True)
    review.decide("q2", False)
    review.decide("q3", True)
    review.decide("q3", None)
    with (folder / DECISIONS_NAME).open("ab") as file:
        file.write(b'{"id": "q4", "acc')  # of a process that was killed
    assert read_decisions(folder) == {"q1": True, "q2": False}
    again = ReviewFolder(folder)
    assert again.page("open", 0)["counts"] == {"open": COUNT - 2, "accepted": 1, "rejected": 1}
    again.decide("q4", True)
    assert read_decisions(folder) == {"q1": True, "q2": False, "q4": True}


def test_the_picture_shows_its_targets(folder):
    rgb = cv2.imdecode(np.frombuffer(ReviewFolder(folder).jpeg("q0"), np.uint8), cv2.IMREAD_COLOR)
    assert rgb.shape == (40, 60, 3)
    assert rgb[15, 40].max() > 40  # inside the target
    assert rgb[35, 5].max() < 20  # outside


def test_a_picture_that_is_not_there_is_none(folder):
    review = ReviewFolder(folder)
    (folder / "pictures/a.png").unlink()
    assert review.jpeg("q0") == review.jpeg("../../etc/passwd") == b""


@pytest.mark.parametrize(
    ("handle", "values", "message"),
    [
        (review_page, {"state": "open"}, "needs a `state`"),
        (review_page, {"state": "open", "first": -1}, "needs a `state`"),
        (review_page, {"state": "open", "first": True}, "needs a `state`"),
        (review_page, {"state": "<b>", "first": 0}, "expected one of open"),
        (review_decision, {"id": "q0"}, "needs an `id`"),
        (review_decision, {"id": ["q0"], "accepted": True}, "needs an `id`"),
        (review_decision, {"id": "q0", "accepted": 1}, "needs an `id`"),
        (review_decision, {"id": "q99", "accepted": True}, "is not in"),
    ],
)
def test_requests_that_are_wrong_change_nothing(folder, handle, values, message):
    desk = SimpleNamespace(review=ReviewFolder(folder))
    with pytest.raises(InvalidInput, match=message):
        asyncio.run(handle(desk, values))
    assert read_decisions(folder) is None


def test_without_a_folder_the_reason_is_reported():
    with pytest.raises(InvalidInput, match="start the console with --review DIR"):
        asyncio.run(review_page(SimpleNamespace(review=None), {"state": "open", "first": 0}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"picture": "../secret.png"}, "expected one in pictures/"),
        ({"picture": "pictures/../secret.png"}, "expected one in pictures/"),
        ({"picture": "/etc/passwd"}, "expected one in pictures/"),
        ({"question": 5}, "question is 5; expected text"),
        ({"targets": []}, "it has no target"),
        ({"targets": [{"name": "cup", "mask": {"size": [4, 4], "counts": [3]}}]}, "runs add up to 3"),
    ],
)
def test_a_question_that_is_damaged_is_refused_with_its_line(folder, change, message):
    path = folder / QUESTIONS_NAME
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(first + json.dumps({**json.loads(rest[0]), **change}) + "\n")
    with pytest.raises(InvalidInput, match="line 2") as caught:
        ReviewFolder(folder)
    assert message in str(caught.value)

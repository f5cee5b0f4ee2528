import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from reasonseg_ros.demo import report
from reasonseg_ros.images.mask_codec import encode_mask


def box_mask(x1, y1, x2, y2):
    mask = np.zeros((20, 30), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def answer(status, *masks):
    regions = [SimpleNamespace(mask=encode_mask(mask)) for mask in masks]
    return SimpleNamespace(status=status, height=20, width=30, regions=regions)


RESULT = report.Result("what?", "function", "So.", "ok", [[1.0, 2.0, 3.0, 4.0]], 0.8, 0.5, [0.9], "", 1, "01.png")


@pytest.mark.parametrize(
    ("message", "truth", "iou"),
    [
        (answer("ok", box_mask(0, 0, 10, 10)), box_mask(0, 0, 10, 10), 1.0),
        (answer("ok", box_mask(0, 0, 5, 10), box_mask(5, 0, 10, 10)), box_mask(0, 0, 10, 10), 1.0),
        (answer("ok", box_mask(0, 0, 10, 10)), box_mask(5, 0, 10, 10), 0.5),
        (answer("no_target"), box_mask(0, 0, 0, 0), 1.0),
        (answer("no_target"), box_mask(0, 0, 4, 4), 0.0),
        (answer("unparsable"), box_mask(0, 0, 0, 0), 0.0),  # a failure is not a right "nothing fits"
    ],
)
def test_an_answer_is_compared_with_the_truth(message, truth, iou):
    assert report.answer_iou(message, truth) == pytest.approx(iou)


@pytest.mark.parametrize(
    ("results", "passed"),
    [
        ([RESULT, RESULT], True),
        ([RESULT, replace(RESULT, iou=0.5)], False),
        ([RESULT, replace(RESULT, iou=1.0, status="timeout")], False),
        ([RESULT, RESULT, RESULT, replace(RESULT, iou=0.0, status="unsure")], False),
        ([*[replace(RESULT, iou=1.0)] * 3, replace(RESULT, iou=0.0, status="unsure")], True),
        ([], False),
    ],
)
def test_the_demo_passes_when_all_is_answered_and_the_masks_agree(results, passed):
    assert report.passed(results, [], 0.7) is passed


def test_unsure_answers_are_counted_as_such(tmp_path):
    results = [replace(RESULT, iou=1.0), replace(RESULT, iou=0.0, status="unsure")]
    console = Console(record=True, width=120)
    report.print_total(console, results, [], 0.4, tmp_path)
    assert "2 of 2 questions answered (1 unsure), gIoU 0.500 (needed: 0.40)" in console.export_text()


@pytest.mark.parametrize(
    ("status", "has_to_be_refused", "passed"),
    [("refused", True, True), ("refused", False, False), ("unavailable", True, False), ("ok", True, False)],
)
def test_a_method_that_sees_one_image_has_to_refuse_what_it_cannot_know(status, has_to_be_refused, passed):
    error = "" if status == "ok" else "mode history: this method looks at one image only"
    moving = report.Moving("what fell?", "history", "", status, 0.0, 32, 0, 0.0, error, has_to_be_refused)
    assert report.passed([RESULT], [moving], 0.7) is passed
    if passed:
        text = printed(report.moving_panel(moving))
        assert "expected refused, as this method looks at one image at a time" in text and "IoU" not in text


@pytest.mark.parametrize(
    ("change", "passed"), [({}, True), ({"iou": 0.4}, False), ({"status": "lost", "error": "not seen"}, False)]
)
def test_the_demo_passes_when_the_moving_target_is_followed(change, passed):
    moving = report.Moving("the red can", "track", "it is red", "ok", 0.8, 32, 30, 0.5, "")
    assert report.passed([RESULT], [moving, replace(moving, **change)], 0.7) is passed


def test_a_printed_answer_is_taken_as_it_is():
    console = Console(record=True, width=100)
    box_3d = {"frame": "[optical]", "middle_m": [0.1, -0.2, 0.75], "size_m": [0.12, 0.06, 0.05]}
    failed = replace(RESULT, status="failed", error="[bold]no[/bold]", boxes_3d=[box_3d])
    console.print(report.panel(1, 8, "function", "what is [red]?", "I see [blue].", failed))
    printed = console.export_text()
    assert "0.120, 0.060, 0.050 m around (0.100, -0.200, 0.750) in [optical]" in printed
    for words in ("1/8 function", "what is [red]?", "I see [blue].", "[bold]no[/bold]", "[1, 2, 3, 4]", "0.90"):
        assert words in printed


def printed(panel):
    console = Console(file=io.StringIO(), width=100)
    console.print(panel)
    return console.file.getvalue()


def test_the_confidence_is_printed_if_it_is_known():
    sure = replace(RESULT, confidence=0.934)
    assert "ok, confidence 0.93" in printed(report.panel(1, 2, "function", "what?", "So.", sure))
    assert "confidence" not in printed(report.panel(1, 2, "function", "what?", "So.", RESULT))


@pytest.mark.parametrize(("status", "known"), [("unsure", True), ("no_target", False), ("ok", True)])
def test_an_unknown_thing_is_printed_with_its_status(status, known):
    answer = SimpleNamespace(
        status=status, thought="I see.", error="confidence 0.01 is low", has_confidence=known, confidence=0.01,
        has_alternative=False,
    )  # fmt: skip
    text = printed(report.unsure_panel("the most expensive thing", answer))
    assert "the most expensive thing" in text and f"status   {status}" in text
    assert (", confidence 0.01" in text) == known
    assert ("wrong    no picture shows that" in text) == (status == "ok" and not known)


@pytest.mark.parametrize(
    ("boxes", "line"),
    [([(1, 2, 30, 40)], "or       [1, 2, 30, 40], the second-best"), ([], "or       nothing, the second-best")],
)
def test_the_second_best_candidate_is_printed(boxes, line):
    regions = [SimpleNamespace(box=SimpleNamespace(x1=x1, y1=y1, x2=x2, y2=y2)) for x1, y1, x2, y2 in boxes]
    answer = SimpleNamespace(
        status="unsure", thought="I see.", error="", has_confidence=True, confidence=0.2, has_alternative=True,
        alternative=regions,
    )  # fmt: skip
    assert line in printed(report.unsure_panel("the most expensive thing", answer))

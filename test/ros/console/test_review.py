"""The page with questions to review, in a real browser."""

import numpy as np
import pytest

from reasonseg_ros.data_engine.records import (
    QUESTIONS_NAME,
    AnsweringObject,
    DataQuestion,
    read_decisions,
    write_lines,
)
from reasonseg_ros.images.files import write_image
from reasonseg_ros.images.run_lengths import rle_from_mask

MARKUP = '<img src=x onerror="document.title=1">'


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "run/pictures/a.png", np.full((40, 60, 3), 90, np.uint8))
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    target = AnsweringObject(MARKUP, rle_from_mask(mask))
    questions = [
        DataQuestion(f"q{n}", "pictures/a.png", MARKUP, "train", "simple", f"{n} {MARKUP}", MARKUP, (target,))
        for n in range(15)
    ]
    write_lines(tmp_path / "run" / QUESTIONS_NAME, questions)
    return tmp_path / "run"


def wait_for_place(page, text):
    page.wait_for_function("text => document.getElementById('place').textContent === text", arg=text)


def test_questions_are_accepted_and_rejected_and_never_markup(own_programs, browse, folder, tmp_path):
    program, address = own_programs.console(tmp_path / "truth", "--review", folder)
    assert program.line(r"^review +(\S+)$")[1] == str(folder)
    page = browse(address)
    page.click("#review")
    wait_for_place(page, "1 to 12 of 15")
    assert page.text_content("[data-id=q0] strong") == f"0 {MARKUP}"
    assert page.locator("#questions img").count() == 12
    assert page.title() == "reasonseg questions"
    page.wait_for_function("() => document.querySelector('[data-id=q0] img').naturalWidth === 60")

    page.click("[data-id=q0] [data-decision=accepted]")
    wait_for_place(page, "1 to 12 of 14")
    page.focus("[data-id=q1]")
    page.keyboard.press("r")
    wait_for_place(page, "1 to 12 of 13")
    page.keyboard.press("a")  # the focus is on the question that took its place
    wait_for_place(page, "1 to 12 of 12")
    assert read_decisions(folder) == {"q0": True, "q1": False, "q2": True}

    page.select_option("#state", "accepted")
    wait_for_place(page, "1 to 2 of 2")
    page.click("[data-id=q2] [data-decision=open]")
    wait_for_place(page, "1 to 1 of 1")
    assert read_decisions(folder) == {"q0": True, "q1": False}
    page.select_option("#state", "open")
    wait_for_place(page, "1 to 12 of 13")
    page.click("#next")
    wait_for_place(page, "13 to 13 of 13")


def test_a_console_without_a_folder_links_to_no_review(own_programs, browse, tmp_path):
    page = browse(own_programs.console(tmp_path / "truth")[1])
    page.wait_for_function("() => document.getElementById('folder').textContent")
    assert page.is_hidden("#review")
    page.goto(page.url + "review")
    page.wait_for_function("() => !document.getElementById('problem').hidden")
    assert "start the console with --review DIR" in page.text_content("#problem")


def test_a_folder_without_questions_is_refused(own_programs, tmp_path):
    program = own_programs.start("-m", "reasonseg_ros.cli", "console", "--port", "0", "--review", tmp_path)
    assert program.ended() == 2
    assert any("give the folder of a run of `reasonseg data`" in line for line in program.lines)

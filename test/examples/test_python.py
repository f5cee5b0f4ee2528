"""The examples that need no ROS, on the embedded models and on scripted ones."""

import json

import cv2
import numpy as np
import pytest

from reasonseg_ros.config import Config
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.files.resources import resource
from reasonseg_ros.images.files import read_image, write_image
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.types import Frame, Query, Status
from test.examples.loading import EXAMPLES, example

NOTHING = "<think>nothing fits</think><answer>[]</answer>"
BOX = '<think>there</think><answer>[{"bbox_2d":[8,8,24,24],"point_2d":[16,16]}]</answer>'
BAG = resource("demo/tabletop")


@pytest.fixture(scope="module")
def clip():
    """A question of the demo's bag with exactly one target, which the embedded models find."""
    found = (clip for clip in read_clips(BAG) if clip.samples[0].truth is not None)
    return next(clip for clip in found if clip.samples[0].truth.mask.any())


@pytest.fixture(scope="module")
def image(clip, tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "image.png"
    write_image(path, clip.samples[0].load_frame().rgb)
    return path


def test_the_numbers_of_the_examples_are_complete():
    assert [path.name[:3] for path in sorted(EXAMPLES.iterdir()) if path.name != "__pycache__"] == [
        f"{number:02d}_" for number in range(1, 12)
    ]


def test_an_image_is_asked_about_and_drawn(clip, image, tmp_path, capsys):
    drawing = tmp_path / "answer.png"
    assert example("01_ask_about_an_image").main(str(image), clip.question, str(drawing)) == 0
    said = capsys.readouterr().out
    assert said.startswith("ok: ") and "\nbox [" in said
    drawn, plain = read_image(drawing), read_image(image)
    assert (drawn[-plain.shape[0] :, : plain.shape[1]] != plain).any()


def test_a_method_of_ones_own_looks_closer_where_it_finds_nothing():
    own = example("02_write_your_own_method")
    reasoner = ScriptedReasoner([NOTHING, NOTHING, BOX])
    method = own.LookCloser(SegZero(reasoner, ScriptedSegmenter("box"), Config()))
    frame = Frame(np.zeros((48, 64, 3), np.uint8), 7)
    found = method.answer(frame, Query("the mug", "q"))
    assert (found.status, found.answer.thought, found.query.query_id) == (Status.OK, "there", "q")
    assert found.frame is frame and len(reasoner.questions) == 3
    # The second quarter begins at x = 32, and was shown at twice the size.
    assert found.regions[0].box_xyxy.tolist() == [36, 4, 44, 12]
    assert [one.status for one in method.answer_video([frame], Query("the mug"))] == [Status.OK]


@pytest.mark.parametrize("last", range(1, 6))
def test_a_custom_method_reports_that_it_was_cancelled(last):
    reasoner = ScriptedReasoner([NOTHING])
    method = example("02_write_your_own_method").LookCloser(SegZero(reasoner, ScriptedSegmenter("box"), Config()))
    call = Call(cancelled=lambda: len(reasoner.questions) >= last)
    assert method.answer(Frame(np.zeros((48, 64, 3), np.uint8)), Query("the mug"), call).status is Status.CANCELLED


def test_a_method_of_ones_own_runs_on_the_embedded_models(clip, image, capsys):
    assert example("02_write_your_own_method").main(str(image), clip.question) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("ok: [[")


def test_a_reasoner_of_ones_own_gets_its_masks_from_the_segmenter(tmp_path, capsys):
    picture = np.full((240, 320, 3), 200, np.uint8)
    cv2.circle(picture, (80, 120), 30, (220, 20, 20), cv2.FILLED)
    cv2.circle(picture, (240, 120), 30, (30, 180, 40), cv2.FILLED)
    write_image(tmp_path / "discs.png", picture)
    own = example("03_write_your_own_reasoner")
    assert own.main(str(tmp_path / "discs.png"), "the red disc") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "ok: 1 patches are red"
    box, area_px = said[1].removeprefix("box ").removesuffix(" pixels").rsplit(", ", 1)
    np.testing.assert_allclose(json.loads(box), [50, 90, 111, 151], atol=5)
    assert int(area_px) == pytest.approx(np.pi * 30**2, rel=0.15)
    method = SegZero(own.ColorReasoner(), ScriptedSegmenter("box"), Config())
    answers = [method.answer(Frame(picture), Query(text)) for text in ("a blue disc", "the disc")]
    assert [answer.status for answer in answers] == [Status.NO_TARGET, Status.REFUSED]


def test_a_bag_is_evaluated_and_finished_by_a_second_run(tmp_path, capsys):
    own = example("04_evaluate_a_bag")
    for limit in ("1", "2"):
        assert own.main(str(BAG), str(tmp_path), limit) == 0
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    said = capsys.readouterr().out.splitlines()
    assert said[-1].endswith("of 2 questions; 0 could not be read")
    assert said[-3].startswith(json.loads(lines[0])["sample_id"])

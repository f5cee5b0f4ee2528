"""Runs against a scripted server: good, rule-breaking and malformed answers, and their bags."""

import json

import numpy as np
import pytest
from engine_runs import asked_for, command, reasons
from vision_server import (
    CAPTION,
    PROMPT_TOKENS,
    TOKENS,
    good,
    images_of,
    said,
    serving,
    write_coco,
)

from reasonseg_ros.cli import main
from reasonseg_ros.data_engine.records import add_decision, read_decisions, read_questions_file
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.training.mask_targets import object_masks


def test_good_answers_become_a_bag_that_is_read_back(coco, tmp_path, capsys):
    with serving(good) as server:
        assert main(command(coco, server, "--splits", "train=1", "--price-in", "2", "--price-out", "10")) == 0
    printed = capsys.readouterr().out
    assert "questions: 5 kept (5 train)" in printed
    assert f"tokens: {2 * PROMPT_TOKENS} in prompts, {2 * TOKENS} in replies; cost 0.0050" in printed
    assert [images_of(request) for request in server.requests] == [1, 2]  # the caption needs no numbers
    assert [request["model"] for request in server.requests] == ["tester", "tester"]
    clips = list(read_clips(tmp_path / "out/bags/train"))
    assert [clip.question for clip in clips][2] == "What helps to stir sugar into a drink?"
    sample = clips[2].frames[0]
    spoons = object_masks(sample.truth)
    assert (sample.kind, sample.split, sample.is_sentence) == ("simple", "train", True)
    assert sample.truth.thought == "It is made for that."
    # The two spoons of 12 and 10 pixels, not the book of 40 or the cup of 24; fills of polygons hold their outline.
    assert [int(mask.sum()) for mask in spoons] == pytest.approx([144, 100], rel=0.3)
    assert all(mask[int(y), int(x)] for mask, (x, y) in zip(spoons, sample.truth.points_xy, strict=True))


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_crowds_and_objects_that_are_not_listed_count_neither_way_for_their_category(coco, tmp_path):
    """Judged by pycocotools. As in COCO's own evaluation, a crowd of spoons is nothing to a question about cups."""
    coco_masks = pytest.importorskip("pycocotools.mask")
    content = json.loads(coco.read_text())
    crowd = np.zeros((96, 128), np.uint8, order="F")
    crowd[60:80, 10:90] = 1
    crowd[5:12, 70:75] = 1  # into the first spoon, whose pixels stay its own
    runs = coco_masks.encode(crowd)
    tiny = [100, 60, 102, 60, 102, 62, 100, 62]
    for number in range(len(content["images"])):
        counts = runs["counts"].decode()
        content["annotations"] += [
            {"id": 90 + number, "image_id": number, "category_id": 3, "iscrowd": 1,
             "segmentation": {"size": [96, 128], "counts": counts}},
            {"id": 95 + number, "image_id": number, "category_id": 3, "iscrowd": 0, "segmentation": [tiny]},
        ]  # fmt: skip
    coco.write_text(json.dumps(content))
    with serving(good) as server:
        assert main(command(coco, server, "--splits", "train=1")) == 0
    truths = {clip.question: clip.frames[0].truth for clip in read_clips(tmp_path / "out/bags/train")}
    spoons, cup = (
        truths["What helps to stir sugar into a drink?"],
        truths["Which thing would keep tea warm for a while?"],
    )
    expected = coco_masks.decode(coco_masks.merge([runs, *coco_masks.frPyObjects([tiny], 96, 128)])).astype(bool)
    assert (spoons.ignore == (expected & ~spoons.mask)).all() and spoons.ignore.sum() > 1600
    assert (expected & spoons.mask).any() and not cup.ignore.any()


def test_a_decision_does_not_fall_to_other_targets_of_the_same_words(coco, tmp_path, capsys):
    out = tmp_path / "out"
    with serving(good) as server:
        assert main(command(coco, server)) == 0
        for one in read_questions_file(out):
            add_decision(out, one.id, True)
        content = json.loads(coco.read_text())
        content["annotations"][1]["segmentation"] = [[46, 40, 70, 40, 70, 64, 46, 64]]  # the cup lies elsewhere
        coco.write_text(json.dumps(content))
        assert main(command(coco, server)) == 0
    assert "1 decisions are about questions that are gone, or have another answer or other targets now" in (
        capsys.readouterr().err
    )
    decisions = read_decisions(out)
    undecided = [one.question for one in read_questions_file(out) if one.id not in decisions]
    assert undecided == ["Which thing would keep tea warm for a while?"]


def test_what_breaks_a_rule_is_asked_again_with_the_reasons(coco, tmp_path):
    def replying(words, server):
        if not asked_for(words):
            return CAPTION
        if "refused" not in words:
            return said(
                ("Which mug is the red one?", [2]),
                ("What lies on the left side?", [1]),
                ("What is not even there at all?", [7]),
                ("What could somebody read on a long journey?", [1]),
                ("On a long journey, what could somebody read?", [1]),
            )
        return good(words, server)

    with serving(replying) as server:
        assert main(command(coco, server)) == 0
    again = server.words[2]
    assert asked_for(again) == 4
    assert "Which mug is the red one?: it says 'mug', which names a listed object" in again
    assert "What lies on the left side?: it says 'left', which is a place" in again
    assert "object 7 is not in the list; the numbers go from 1 to 4" in again
    assert "nearly the same as 'What could somebody read on a long journey?'" in again
    assert "- What could somebody read on a long journey? (objects 1)" in again
    kept = [one.question for one in read_questions_file(tmp_path / "out")]
    assert len(kept) == len(set(kept)) == 5
    assert "Which mug is the red one?" not in kept


def test_what_stays_wrong_is_dropped_with_its_reason(coco, tmp_path, capsys):
    def replying(words, _):
        return said(("Which cup is it here?", [2])) if asked_for(words) else CAPTION

    with serving(replying) as server:
        assert main(command(coco, server, "--tries", "2")) == 1
    assert [asked_for(words) for words in server.words] == [0, 5, 5]
    found = reasons(tmp_path / "out")
    assert "names a listed object" in found["Which cup is it here?"]
    assert found[""] == "no question of it is left"
    assert "no question is left" in capsys.readouterr().err
    assert not (tmp_path / "out/bags").exists()


def test_malformed_answers_are_asked_again_and_bounded(coco, tmp_path):
    replies = iter(
        ["no picture, sorry", CAPTION, '{"questions": [', "[1, 2", said(("What could somebody read here?", [1]))]
    )
    with serving(lambda *_: next(replies)) as server:
        assert main(command(coco, server)) == 0
    assert [asked_for(words) for words in server.words] == [0, 0, 5, 5, 5]
    assert "no JSON object with a caption" in reasons(tmp_path / "out")["no picture, sorry"]
    assert "no JSON list of questions" in server.words[-1]
    assert len(read_questions_file(tmp_path / "out")) == 1


def test_three_questions_with_one_answer_are_one_too_many(coco, tmp_path):
    questions = ("What could somebody read here?", "Which thing has many thin sheets?", "What tells a long story?")

    def replying(words, _):
        return said(*((question, [1]) for question in questions)) if asked_for(words) else CAPTION

    with serving(replying) as server:
        assert main(command(coco, server, "--tries", "1")) == 0
    assert [one.question for one in read_questions_file(tmp_path / "out")] == list(questions[:2])
    assert "2 questions have the answer 1 already" in reasons(tmp_path / "out")[questions[2]]


def test_the_same_question_about_other_pictures_is_dropped(tmp_path):
    coco = write_coco(tmp_path / "coco", pictures=3)
    with serving(good) as server:
        main(command(coco, server))
    assert len(read_questions_file(tmp_path / "out")) == 5
    assert (
        "1 other pictures are asked the same"
        in reasons(tmp_path / "out")["What could somebody read on a long journey?"]
    )


def test_only_accepted_questions_are_written_once_somebody_has_decided(coco, tmp_path, capsys):
    out = tmp_path / "out"
    with serving(good) as server:
        assert main(command(coco, server, "--splits", "train=1")) == 0
    ids = [one.id for one in read_questions_file(out)]
    add_decision(out, ids[0], True)
    add_decision(out, ids[1], True)
    add_decision(out, ids[2], False)
    add_decision(out, ids[1], None)
    assert main(["data", "bags", str(out)]) == 0
    assert "1 questions about 1 pictures" in capsys.readouterr().out
    assert [clip.expression for clip in read_clips(out / "bags/train")] == ids[:1]
    add_decision(out, ids[0], False)
    assert main(["data", "bags", str(out)]) == 2
    assert "no question in" in capsys.readouterr().err

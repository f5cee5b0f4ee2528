"""Rows of bags with ground truth, from the command line."""

import numpy as np
import pytest

from reasonseg_ros import bags
from reasonseg_ros.cli import main
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.files import read_image
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.training.bag_rows import write_bag_rows
from reasonseg_ros.training.rows import read_rows
from reasonseg_ros.types import Query

SIZE_WH = (84, 42)


@pytest.fixture
def bag(tmp_path):
    """Two images. The first has a full box, a hollow one, both together, and nothing; the second a question without
    an image of its stamp."""
    full, hollow = np.zeros(SIZE_WH[::-1], bool), np.zeros(SIZE_WH[::-1], bool)
    full[10:20, 10:20] = True
    hollow[10:30, 40:60] = True
    hollow[12:28, 42:58] = False
    boxes = (10, 10, 20, 20), (40, 10, 60, 30)
    asked = [("full", full, boxes[:1]), ("hollow", hollow, boxes[1:]), ("both", full | hollow, boxes),
             ("none", full & False, ())]  # fmt: skip
    rng = np.random.default_rng(0)
    with bags.BagWriter(tmp_path / "bag") as bag:
        for number in range(2):
            stamp_ns = 10**9 * (number + 1)
            rgb = rng.integers(0, 256, (*SIZE_WH[::-1], 3), np.uint8)
            bag.write("/camera/image", bags.image_message(rgb, stamp_ns, "camera"), stamp_ns)
        for number, (name, mask, targets) in enumerate(asked):
            truth = bags.ground_truth_message(
                Query(f"the {name}?", name), mask, 10**9, "camera", kind=f"kind {number % 2}", thought=f"why {name}",
                boxes_xyxy=targets,
            )  # fmt: skip
            bag.write("/reasonseg/ground_truth", truth, 2 * 10**9 + number)
        lost = bags.ground_truth_message(Query("lost?", "lost"), full, 7 * 10**9, "camera")
        bag.write("/reasonseg/ground_truth", lost, 3 * 10**9)
    return tmp_path / "bag"


def test_every_question_with_ground_truth_is_a_row_and_the_others_are_listed(bag, tmp_path, capsys):
    assert main(["train", "data", str(bag), "--out", str(tmp_path / "rows"), "--points", "2"]) == 1
    said = capsys.readouterr()
    assert "4 rows with 4 targets about 1 images" in said.out and "left out: lost: there is no image" in said.err
    rows = {row.id: row for row in read_rows(tmp_path / "rows")}
    assert [target.box_xyxy for target in rows["both"].targets] == [(100, 200, 190, 380), (400, 200, 590, 580)]
    assert rows["both"].question == "the both?" and rows["both"].thought == "why both"
    assert len(rows["full"].targets[0].points_xy) == 2 and rows["none"].targets == ()
    assert len({row.image for row in rows.values()}) == 1
    assert read_image(tmp_path / "rows" / rows["full"].image).shape == (42, 84, 3)


def test_rows_hold_the_kinds_that_are_named(bag, tmp_path):
    main(["train", "data", str(bag), "--out", str(tmp_path / "rows"), "--kinds", "kind 1"])
    assert [row.id for row in read_rows(tmp_path / "rows")] == ["hollow", "none"]


def test_a_kind_that_no_question_has_is_listed(bag, tmp_path, capsys):
    arguments = ["train", "data", str(bag), "--out", str(tmp_path / "rows"), "--kinds", "kind 1", "knd 2"]
    assert main(arguments) == 1
    assert "left out: the bags have no question of the kind knd 2" in capsys.readouterr().err


def test_targets_that_the_segmenter_does_not_find_again_are_dropped_and_counted(bag, tmp_path):
    counts = write_bag_rows([bag], tmp_path / "rows", segmenter=ScriptedSegmenter("box"))
    assert (counts.rows, counts.targets, counts.dropped_targets, counts.dropped_questions) == (3, 2, 2, 1)
    assert {row.id: len(row.targets) for row in read_rows(tmp_path / "rows")} == {"full": 1, "both": 1, "none": 0}


def test_a_bag_without_truth_gives_no_rows(tmp_path):
    with bags.BagWriter(tmp_path / "bag") as bag:
        bag.write("/camera/image", bags.image_message(np.zeros((4, 4, 3), np.uint8), 1, "camera"), 1)
        bag.write("/reasonseg/query", bags.query_message(Query("the cup?", "1")), 2)
    with pytest.raises(InvalidInput, match="no ground truth"):
        write_bag_rows([tmp_path / "bag"], tmp_path / "rows")


@pytest.mark.parametrize("arguments", [[], ["bag", "--scenes", "scenes"], ["--scenes", "scenes", "--videos", "videos"]])
def test_either_bags_or_scenes_are_named(tmp_path, capsys, arguments):
    assert main(["train", "data", "--out", str(tmp_path / "rows"), *arguments]) == 2
    assert "name bags with ground truth, --scenes or --videos" in capsys.readouterr().err

"""ReasonVOS and ReVOS: expressions with ids, and annotations of any shape."""

import json

import numpy as np
import pytest
from PIL import Image

from reasonseg_ros import cli
from reasonseg_ros.bags import header_stamp_ns
from reasonseg_ros.evaluation.datasets.conversion import data_set_of
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.images.run_lengths import encode_rle
from test.evaluation.datasets.conftest import FRAMES


def masks_of(bag, question_id):
    """The masks of one expression by the number of the frame."""
    stamps = sorted(bag.images)
    truths = [truth for truth in bag.truths if truth.query_id == question_id]
    return {stamps.index(header_stamp_ns(truth.header)): decode_mask(truth.mask) for truth in truths}


REASONVOS = {
    "source": "MeViS",
    "frames": FRAMES,
    "expressions": [
        {"exp_id": 17, "obj_id": 1, "exp_text": "Who will win the race?", "is_sent": True},
        {"exp_id": 4, "obj_id": 2, "exp_text": "the slower one", "is_sent": False},
        {"exp_id": 9, "obj_id": 2, "exp_text": "the one behind", "is_sent": 0},
    ],
}


@pytest.fixture
def reasonvos(tmp_path, frames, write_json, rectangle):
    """ReasonVOS as it is published; gives its folder and the masks by the object's number."""
    base = tmp_path / "ReasonVOS"
    frames(base, "v1")
    masks = {number: rectangle(4 * number, 4, 12 * number, 12) for number in (1, 2)}
    for number, mask in masks.items():
        for name in FRAMES:
            path = base / f"Annotations/MeViS_v1_{number}/{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((mask * 255).astype(np.uint8)).save(path)
    write_json(base / "meta_expressions.json", {"videos": {"v1": REASONVOS}})
    return base, masks


def test_reasonvos_keeps_its_own_ids_and_each_expression_says_whether_it_is_a_sentence(reasonvos, convert):
    base, masks = reasonvos
    bag = convert("from-video", base)
    assert bag.status == 0 and bag.problems == []
    assert bag.queries == {"v1/17": "Who will win the race?", "v1/4": "the slower one", "v1/9": "the one behind"}
    assert {truth.query_id: truth.is_sentence for truth in bag.truths} == {"v1/17": True, "v1/4": False, "v1/9": False}
    for question_id, number in (("v1/17", 1), ("v1/4", 2), ("v1/9", 2)):
        found = masks_of(bag, question_id)
        assert sorted(found) == [0, 1, 2] and all(np.array_equal(mask, masks[number]) for mask in found.values())


def test_ids_that_count_within_an_object_stay_apart(reasonvos, write_json, convert):
    base, masks = reasonvos
    expressions = [
        {"exp_id": 0, "obj_id": 1, "exp_text": "one", "is_sent": False},
        {"exp_id": 0, "obj_id": 2, "exp_text": "two", "is_sent": False},
        {"exp_id": 1, "obj_id": 2, "exp_text": "three", "is_sent": False},
    ]
    write_json(base / "meta_expressions.json", {"videos": {"v1": {**REASONVOS, "expressions": expressions}}})
    bag = convert("from-video", base)
    assert bag.status == 0 and bag.queries == {"v1/1/0": "one", "v1/2/0": "two", "v1/1": "three"}
    assert np.array_equal(masks_of(bag, "v1/2/0")[0], masks[2])


def test_a_key_that_stands_twice_is_refused(reasonvos, tmp_path, capsys):
    base, _ = reasonvos
    path = base / "meta_expressions.json"
    path.write_text(path.read_text().replace('"videos": {', '"videos": {"v1": {}, '))
    assert cli.main(["bag", "from-video", str(base), "--out", str(tmp_path / "bag")]) == 2
    assert "the key 'v1' stands twice" in capsys.readouterr().err


def coco(mask):
    return {"size": list(mask.shape), "counts": encode_rle(mask).tolist()}


@pytest.fixture
def revos(tmp_path, frames, write_json, rectangle):
    """ReVOS as it is published: both splits share images and masks."""
    base = tmp_path / "ReVOS"
    frames(base, "OVIS/v1")
    masks = [rectangle(number, 2, number + 9, 9) for number in range(3)]
    other = rectangle(20, 20, 30, 28)
    runs = {"5": [coco(masks[0]), None, coco(masks[2])], "6": [coco(other), {}, None], "7": [None] * 3}
    write_json(base / "mask_dict.json", runs)
    expressions = {
        "0": {"exp": "the left one", "obj_id": [0], "anno_id": [5], "type_id": 0},
        "3": {"exp": "Which ones will meet?", "obj_id": [0, 1], "anno_id": [5, 6], "type_id": 1},
        "4": {"exp": "a unicorn", "obj_id": [], "anno_id": [], "type_id": 2},
    }
    video = {"height": 30, "width": 40, "frames": FRAMES, "vid_id": 1, "expressions": expressions}
    write_json(base / "meta_expressions_valid_.json", {"videos": {"OVIS/v1": video}})
    write_json(
        base / "meta_expressions_train_.json",
        {"videos": {"OVIS/v1": {**video, "expressions": {"0": expressions["0"]}}}},
    )
    return base, masks, other


def test_revos_has_one_file_of_expressions_a_split(revos, convert):
    base, masks, other = revos
    bag = convert("from-video", base, "--split", "valid")
    assert bag.status == 0 and bag.problems == []
    assert bag.queries == {
        "OVIS/v1/0": "the left one", "OVIS/v1/3": "Which ones will meet?", "OVIS/v1/4": "a unicorn",
    }  # fmt: skip
    kinds = {truth.query_id.rpartition("/")[2]: (truth.kind, truth.is_sentence) for truth in bag.truths}
    assert kinds == {"0": ("referring", False), "3": ("reasoning", True), "4": ("nonexistent", False)}
    both = masks_of(bag, "OVIS/v1/3")
    assert np.array_equal(both[0], masks[0] | other) and not both[1].any() and np.array_equal(both[2], masks[2])
    assert not any(mask.any() for mask in masks_of(bag, "OVIS/v1/4").values())


def test_a_bag_says_which_published_set_it_holds(reasonvos, revos, convert, tmp_path):
    for folder, options, expected in (
        (reasonvos[0], (), "ReasonVOS"), (revos[0], ("--split", "valid"), "ReVOS valid"),
    ):  # fmt: skip
        convert("from-video", folder, *options, "--force", "--restart")
        assert data_set_of(tmp_path / "out/bag") == expected


def test_the_splits_of_revos_are_named(revos, tmp_path, capsys):
    base, _, _ = revos
    assert cli.main(["bag", "from-video", str(base), "--out", str(tmp_path / "bag")]) == 2
    assert "--split of it (train, valid)" in capsys.readouterr().err


def test_masks_predicted_for_a_published_set_are_found_by_its_ids(reasonvos, convert, tmp_path, capsys):
    """A method writes `VIDEO/EXP_ID/FRAME.png`, with the frames numbered."""
    base, masks = reasonvos
    convert("from-video", base)
    for exp_id, number in ((17, 1), (4, 2), (9, 2)):
        for frame in range(3):
            path = tmp_path / f"masks/v1/{exp_id}/{frame:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((masks[number] * 255).astype(np.uint8)).save(path)
    capsys.readouterr()
    predictions, targets = str(tmp_path / "masks"), str(tmp_path / "out/bag")
    assert cli.main(["score", "--predictions", predictions, "--targets", targets, "--video"]) == 0
    assert '"j_and_f": 1.0' in capsys.readouterr().out


ODD = [None, [], {}, -1, 1e400, float("nan"), "", "../x", "/etc/passwd", "\ud800", "\0", "n" * 300, [[None]], {"a": []}]


@pytest.mark.parametrize("place", ["videos", "v1", "frames", "expressions", "0", "exp", "anno_id", "type_id", "size"])
def test_annotations_of_any_shape_are_left_out_or_refused_in_words(place, revos, write_json, tmp_path, capsys):
    """Each value in turn is replaced by an invalid one. The exit status is never that of a program error."""
    base, masks, _ = revos
    for number, odd in enumerate(ODD):
        expression = {"exp": "it", "obj_id": [0], "anno_id": [5], "type_id": 0}
        video = {"frames": FRAMES, "expressions": {"0": expression}}
        content = {"videos": {"OVIS/v1": video}}
        runs = {"5": [coco(masks[0]), None, None]}
        owner, key = {
            "videos": (content, "videos"), "v1": (content["videos"], "OVIS/v1"), "frames": (video, "frames"),
            "expressions": (video, "expressions"), "0": (video["expressions"], "0"), "exp": (expression, "exp"),
            "anno_id": (expression, "anno_id"), "type_id": (expression, "type_id"), "size": (runs["5"][0], "size"),
        }[place]  # fmt: skip
        owner[key] = odd
        for name, values in (("meta_expressions_valid_.json", content), ("mask_dict.json", runs)):
            (base / name).write_text(json.dumps(values))
        out = tmp_path / f"bag{number}"
        status = cli.main(["bag", "from-video", str(base), "--split", "valid", "--out", str(out)])
        errors = capsys.readouterr().err
        assert status in (0, 1, 2) and "Traceback" not in errors, (odd, errors)
        reported = [line for line in errors.splitlines() if line.startswith(("left out: ", "reasonseg: "))]
        assert bool(reported) == (status != 0) and all(len(line) < 1200 for line in reported)

import json

import numpy as np
import pytest
from PIL import Image

from reasonseg_ros import cli
from reasonseg_ros.bags import header_stamp_ns
from reasonseg_ros.evaluation.datasets.conversion import data_set_of
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.images.run_lengths import encode_rle

FRAMES = ["00000", "00005", "00010"]
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [200] * 759  # Pillow saves no index beyond the palette's end


def save_palette(path, indices):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(PALETTE)
    assert image.mode == "P"
    image.save(path)


@pytest.fixture
def frames(photo):
    def write(base, video, names=FRAMES):
        for name in names:
            photo(base / "JPEGImages" / video / f"{name}.jpg")

    return write


def masks_of(bag, question_id):
    """The masks of one expression by the number of the frame."""
    stamps = sorted(bag.images)
    truths = [truth for truth in bag.truths if truth.query_id == question_id]
    return {stamps.index(header_stamp_ns(truth.header)): decode_mask(truth.mask) for truth in truths}


def test_ref_davis_masks_are_palette_indices(tmp_path, frames, write_json, convert, rectangle):
    base = tmp_path / "ref-davis"
    frames(base / "valid", "dance")
    one = [rectangle(n, 2, n + 5, 9) for n in range(3)]
    two = [rectangle(20, 15, 30, 20 + n) for n in range(3)]
    for name, a, b in zip(FRAMES, one, two, strict=True):
        save_palette(base / "valid/Annotations/dance" / f"{name}.png", a * 1 + b * 2)
    expressions = {"0": {"exp": "the left dancer", "obj_id": "1"}, "1": {"exp": "the other", "obj_id": "2"}}
    content = {"videos": {"dance": {"frames": FRAMES, "expressions": expressions}}}
    write_json(base / "meta_expressions/valid/meta_expressions.json", content)
    bag = convert("from-video", base, "--split", "valid", "--rate", "5")
    assert bag.status == 0 and bag.problems == []
    assert "pictures: 3 read, 3 written" in bag.out and "questions: 6 read, 6 written" in bag.out
    assert bag.queries == {"dance/0": "the left dancer", "dance/1": "the other"}
    for question_id, expected in (("dance/0", one), ("dance/1", two)):
        found = masks_of(bag, question_id)
        assert all(np.array_equal(found[n], expected[n]) for n in range(3)) and len(found) == 3
    assert np.diff(sorted(bag.images)).tolist() == [200_000_000] * 2


@pytest.fixture
def ref_davis(tmp_path, frames, write_json):
    """A video with one object, whose masks are written by `save` (path, mask, number of the frame)."""

    def write(save, masks):
        base = tmp_path / "ref-davis"
        frames(base / "valid", "dance")
        for number, (name, mask) in enumerate(zip(FRAMES, masks, strict=True)):
            save(base / "valid/Annotations/dance" / f"{name}.png", mask, number)
        expressions = {"0": {"exp": "the left dancer", "obj_id": "1"}}
        content = {"videos": {"dance": {"frames": FRAMES, "expressions": expressions}}}
        write_json(base / "meta_expressions/valid/meta_expressions.json", content)
        return base

    return write


def test_void_pixels_of_davis_are_ignored(ref_davis, convert, rectangle):
    masks, void = [rectangle(n, 2, n + 5, 9) for n in range(3)], rectangle(30, 20, 35, 25)

    def save(path, mask, number):
        save_palette(path, mask * 1 + void * 255 * (number < 2))

    bag = convert("from-video", ref_davis(save, masks), "--split", "valid")
    assert bag.status == 0 and len(bag.truths) == 3
    for truth in bag.truths:
        number = sorted(bag.images).index(header_stamp_ns(truth.header))
        assert (decode_mask(truth.mask) == masks[number]).all()
        ignored = decode_mask(truth.ignore)
        assert (ignored == void).all() if number < 2 else not ignored.any()


def test_an_object_that_is_absent_from_a_frame_has_an_empty_mask_there(ref_davis, convert, rectangle):
    masks = [rectangle(1, 2, 5, 9), rectangle(0, 0, 0, 0) & False, rectangle(3, 2, 5, 9)]
    bag = convert(
        "from-video", ref_davis(lambda path, mask, _: save_palette(path, mask * 1), masks), "--split", "valid"
    )
    assert bag.status == 0 and [mask.sum() for mask in masks_of(bag, "dance/0").values()] == [40, 0, 24]


def test_masks_of_black_and_white_instead_of_indices_are_refused(ref_davis, convert, rectangle):
    def save(path, mask, _):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)

    bag = convert("from-video", ref_davis(save, [rectangle(n, 2, n + 5, 9) for n in range(3)]), "--split", "valid")
    assert bag.status == 1 and not bag.truths
    assert any("object 1 is on none of the masks" in line and "hold 255" in line for line in bag.problems)


def test_reasonvos_masks_have_a_folder_an_expression(tmp_path, frames, write_json, convert, rectangle):
    base = tmp_path / "ReasonVOS"
    for video in ("v1", "v2"):
        frames(base, video)
    mask = rectangle(4, 4, 12, 12)
    for folder in ("burst_v1_3", "MOSE_v2_0"):
        for name in FRAMES[:2]:  # the last frame is not labelled
            save_palette(base / "Annotations" / folder / f"{name}.png", mask * 2)
    first, second = {"0": {"exp_text": "Who wins?", "obj_id": 3}}, [{"exp_text": "it", "obj_id": 0}]
    videos = {
        "v1": {"source": "BURST", "frames": FRAMES, "is_sent": True, "expressions": first},
        "v2": {"source": "MOSE", "frames": FRAMES, "is_sent": False, "expressions": second},
    }
    write_json(base / "meta_expressions.json", {"videos": videos})
    bag = convert("from-video", base)
    assert bag.status == 0
    assert "pictures: 6 read, 6 written" in bag.out and "questions: 4 read, 4 written" in bag.out
    assert "not scored: 2 pairs" in bag.out
    assert sorted(masks_of(bag, "v1/0")) == [0, 1] and sorted(masks_of(bag, "v2/0")) == [3, 4]
    assert all(np.array_equal(found, mask) for found in masks_of(bag, "v1/0").values())
    assert [truth.is_sentence for truth in bag.truths] == [True, True, False, False]


def test_mevis_masks_are_run_lengths_and_null_means_absent(tmp_path, frames, write_json, convert, rectangle):
    base = tmp_path / "mevis"
    frames(base / "valid_u", "v1")
    one, two = rectangle(4, 4, 12, 12), rectangle(20, 4, 25, 9)

    def runs(mask):
        return {"size": [30, 40], "counts": encode_rle(mask).tolist()}

    write_json(base / "valid_u/mask_dict.json", {"7": [runs(one), None, runs(one)], "8": [runs(two), None, None]})
    expressions = {"0": {"exp": "both", "obj_id": [0, 1], "anno_id": [7, 8]}, "1": {"exp": "one", "anno_id": [7]}}
    videos = {"v1": {"frames": FRAMES, "expressions": expressions}}
    write_json(base / "valid_u/meta_expressions.json", {"videos": videos})
    bag = convert("from-video", base, "--split", "valid_u")
    assert bag.status == 0 and "questions: 6 read, 6 written" in bag.out
    both = masks_of(bag, "v1/0")
    assert np.array_equal(both[0], one | two) and not both[1].any() and np.array_equal(both[2], one)


def test_what_cannot_be_used_is_told_once_and_counted(tmp_path, frames, write_json, convert, rectangle):
    base = tmp_path / "set"
    frames(base, "v1")
    frames(base, "v2")
    frames(base, "v6")
    (base / "JPEGImages/v1/00005.jpg").unlink()
    mask = rectangle(4, 4, 12, 12)
    for name in FRAMES:
        save_palette(base / "Annotations/v1" / f"{name}.png", mask * 1)
        save_palette(base / "Annotations/v2" / f"{name}.png", mask * 1)
    save_palette(base / "Annotations/v2/00005.png", rectangle(1, 1, 3, 3, (20, 20)) * 1)
    (base / "Annotations/v2/00010.png").write_bytes(b"no image")
    sound = {"exp": "it", "obj_id": "1"}
    videos = {
        "v1": {"frames": FRAMES, "expressions": {"0": sound, "1": {"exp": "", "obj_id": "1"}, "2": {"exp": "a"}}},
        "v2": {"frames": FRAMES, "expressions": {"0": sound}},
        "v3": {"frames": FRAMES, "expressions": {"0": sound}},
        "v4": {"frames": [], "expressions": {"0": sound}},
        "v5": "nothing",
        "v6": {"frames": ["../../x"], "expressions": {"0": sound}},
    }
    write_json(base / "meta_expressions.json", {"videos": videos})
    bag = convert("from-video", base)
    assert bag.status == 1
    # v1: 2 of 3 frames; v2: all; v3 to v6: one each that stands for the whole video
    assert "pictures: 10 read, 5 written, 5 left out" in bag.out
    assert "questions: 9 read, 3 written, 6 left out" in bag.out
    assert sorted(masks_of(bag, "v1/0")) == [0, 1] and sorted(masks_of(bag, "v2/0")) == [2]
    expected = [
        "v1, 2 frames from 0 on: expression 1: the question is empty",
        "v1, 2 frames from 0 on: expression 2: its obj_id is None",
        "v1, frame 1: the image v1/00005.jpg is missing",
        "v2, frame 1: expression 0: mask of 20 x 20 for an image of 40 x 30",
        "v2, frame 2: expression 0: the mask",
        "v3: there is no folder",
        "v4: it has no 'frames'",
        "v5: it has no 'frames'",
        "v6: '../../x' is no name of a file",
    ]
    assert len(bag.problems) == len(expected)
    for line, start in zip(bag.problems, expected, strict=True):
        assert line.startswith(start)


def test_a_split_without_published_masks_is_told(tmp_path, frames, write_json, convert):
    base = tmp_path / "mevis"
    frames(base / "valid", "v1")
    write_json(
        base / "valid/meta_expressions.json",
        {"videos": {"v1": {"frames": FRAMES, "expressions": {"0": {"exp": "it"}}}}},
    )
    bag = convert("from-video", base, "--split", "valid")
    assert bag.status == 1 and not bag.truths
    (line,) = bag.problems
    assert "use a split with published masks" in line and "3 frames" in line


def test_folders_without_expressions_are_named(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    assert cli.main(["bag", "from-video", str(tmp_path / "set"), "--out", str(tmp_path / "bag")]) == 2
    assert "no meta_expressions.json in" in capsys.readouterr().err


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
    """Each value in turn is replaced by what is none; the status is never that of a fault of the program."""
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

import numpy as np
import pytest
from PIL import Image

from reasonseg_ros import cli
from reasonseg_ros.bags import header_stamp_ns
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.images.run_lengths import encode_rle
from test.evaluation.datasets.conftest import FRAMES

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [200] * 759  # Pillow saves no index beyond the palette's end


def save_palette(path, indices):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(PALETTE)
    assert image.mode == "P"
    image.save(path)


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


@pytest.mark.parametrize("count", [2, 4])
def test_masks_of_another_number_than_frames_are_refused(count, tmp_path, frames, write_json, convert, rectangle):
    """Frames were dropped from one of the files, and nothing says which: each mask may be another frame's."""
    base = tmp_path / "mevis"
    frames(base / "valid_u", "v1")
    mask = rectangle(4, 4, 12, 12)
    runs = {"size": [30, 40], "counts": encode_rle(mask).tolist()}
    write_json(base / "valid_u/mask_dict.json", {"7": [runs] * 3, "8": [runs] * count})
    expressions = {"0": {"exp": "one", "anno_id": [7]}, "1": {"exp": "both", "anno_id": [7, 8]}}
    write_json(
        base / "valid_u/meta_expressions.json", {"videos": {"v1": {"frames": FRAMES, "expressions": expressions}}}
    )
    bag = convert("from-video", base, "--split", "valid_u")
    assert bag.status == 1 and {truth.query_id for truth in bag.truths} == {"v1/0"}
    assert any(f"mask_dict.json has {count} masks 8 for 3 frames" in line for line in bag.problems)


def test_what_cannot_be_used_is_reported_once_and_counted(tmp_path, frames, write_json, convert, rectangle):
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


def test_a_split_without_published_masks_is_reported(tmp_path, frames, write_json, convert):
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

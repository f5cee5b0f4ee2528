import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from reasonseg_ros.images.run_lengths import encode_rle


def compressed(mask):
    runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def listed(mask):
    return {"size": list(mask.shape), "counts": encode_rle(mask).tolist()}


def pair(segmentation, question="What holds water?", **more):
    return {"question": question, "answer": "The mug, as it is a vessel.", "segmentation": segmentation, **more}


@pytest.fixture
def folder(tmp_path, photo):
    photo(tmp_path / "set" / "train2017" / "000000000001.jpg")
    photo(tmp_path / "elsewhere" / "ego.jpg")
    return tmp_path / "set"


def test_every_way_of_writing_a_mask_is_read(folder, tmp_path, write_json, convert, rectangle):
    one, two = rectangle(2, 3, 9, 12), rectangle(20, 5, 30, 25)
    (folder / "masks").mkdir()
    Image.fromarray(one.astype(np.uint8) * 3).save(folder / "masks" / "one.png")
    Image.fromarray(one.astype(np.uint16)).save(folder / "masks" / "deep.png")
    by_path = [{"question": "q", "answer": "a", "segmentation_path": f"masks/{name}.png"} for name in ("one", "deep")]
    pairs = [pair(compressed(one)), pair(listed(two)), pair([compressed(one), listed(two)]), *by_path]
    entries = {
        "000000000001.jpg": {"from_dataset": "coco", "qa_pairs": pairs},
        "ego.jpg": {"from_dataset": "ego_objects", "qa_pairs": [pair([[10, 10, 20, 10, 20, 20, 10, 20]])]},
    }
    write_json(folder / "validation.json", entries)
    bag = convert("from-llmseg40k", folder, "--images", str(tmp_path / "elsewhere"))
    assert bag.status == 0 and bag.problems == []
    assert "pictures: 2 read, 2 written" in bag.out and "questions: 6 read, 6 written" in bag.out
    expected = [one, two, one | two, one, one]
    for number, mask in enumerate(expected):
        assert np.array_equal(bag.mask(f"000000000001-{number}"), mask)
    assert bag.mask("ego-0").sum() == 100 and bag.mask("ego-0")[15, 15]
    truth = bag.truth("000000000001-0")
    assert (truth.thought, truth.is_sentence, truth.split) == ("The mug, as it is a vessel.", True, "validation")


def test_what_cannot_be_used_is_reported_and_counted(folder, write_json, convert, rectangle):
    sound = rectangle(2, 3, 9, 12)
    pairs = [
        pair(compressed(sound)),
        pair(compressed(rectangle(1, 1, 2, 2, (50, 50)))),
        pair({"size": [30, 40], "counts": "zzzz"}),
        pair({"size": [30, 40], "counts": ""}),
        pair({"size": [30, 40], "counts": [5, 5]}),
        pair({"size": [30, 40], "counts": [5, -5, 1200]}),
        pair({"counts": [5]}),
        pair(compressed(sound), question=" "),
        pair([[1, 1, 9, 9]]),
        pair([[1, 1, 9, 9], [10, 10, 20, 10, 20, 20, 10, 20]]),
        {"question": "q", "answer": "a"},
        {"question": "q", "answer": "a", "segmentation_path": "../../etc/passwd"},
        "no pair",
    ]
    entries = {
        "000000000001.jpg": {"qa_pairs": pairs},
        "missing.jpg": {"qa_pairs": [pair(compressed(sound))]},
        "nothing.jpg": {"qa_pairs": []},
        "/etc/passwd": {"qa_pairs": [pair(compressed(sound))]},
    }
    write_json(folder / "validation.json", entries)
    bag = convert("from-llmseg40k", folder)
    assert bag.status == 1
    assert "pictures: 4 read, 1 written, 3 left out" in bag.out
    assert "questions: 13 read, 2 written, 11 left out" in bag.out
    assert "shapes: 1 left out" in bag.out
    assert len(bag.problems) == 3 + 11 + 1
    assert set(bag.queries) == {"000000000001-0", "000000000001-9"}
    assert bag.mask("000000000001-9").sum() == 100
    text = "\n".join(bag.problems)
    for reason in (
        "question 1: run lengths of size [50, 50] (height, width) for an image of 40 x 30",
        "question 2: damaged run lengths",
        "question 3: damaged run lengths",
        "question 4: damaged run lengths (runs add up to 10 pixels",
        "question 5: damaged run lengths",
        "question 6: run lengths of size None",
        "question 7: the question is empty",
        "question 8: no usable polygon; polygon 1 is left out: 2 points enclose nothing",
        "question 9: polygon 1 is left out: 2 points enclose nothing",
        "question 10: it has neither",
        "question 11: the image name '../../etc/passwd' leads out of the data set",
        "question 12: it is 'no pair'",
        "missing.jpg: the image missing.jpg is missing",
        "nothing.jpg: it has no 'qa_pairs'",
        "/etc/passwd: the image name '/etc/passwd' leads out",
    ):
        assert reason in text

"""Splits, stored replies, and COCO-style files of others' making."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from vision_server import write_coco

from reasonseg_ros.data_engine.bags_out import other_bags, write_bags
from reasonseg_ros.data_engine.records import (
    QUESTIONS_NAME,
    AnsweringObject,
    DataQuestion,
    add_decision,
    write_lines,
)
from reasonseg_ros.data_engine.sources.coco import coco_pictures
from reasonseg_ros.data_engine.spending import Prices, spending
from reasonseg_ros.data_engine.splits import SHARES, read_shares, split_of
from reasonseg_ros.data_engine.store import ReplyStore, StoredReply, request_key
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.files import write_image
from reasonseg_ros.images.run_lengths import rle_from_mask

REPLY = StoredReply("k", "a.png", "text", False, 100, 10)


def test_splits_have_their_shares_and_never_change():
    digests = [f"{number:020x}" for number in range(4000)]
    counts = Counter(split_of(digest, SHARES) for digest in digests)
    assert counts["train"] / 4000 == pytest.approx(0.8, abs=0.03)
    assert counts["val"] / 4000 == pytest.approx(0.1, abs=0.02)
    assert [split_of(str(number), SHARES) for number in range(8)] == [_by_hand(number) for number in range(8)]
    assert {split_of(digest, {"train": 1.0, "val": 0.0}) for digest in digests} == {"train"}
    assert [split_of(one, SHARES, 1) for one in digests[:50]] != [split_of(one, SHARES, 2) for one in digests[:50]]


def _by_hand(number):
    draw = int(hashlib.sha256(f"0 {number}".encode()).hexdigest()[:16], 16) / 2**64
    return "train" if draw < 0.8 else "val" if draw < 0.9 else "test"


@pytest.mark.parametrize(
    "texts", [["train"], ["train=0.5", "train=0.5"], ["a/b=1"], ["train=nan"], ["train=2", "val=-1"]]
)
def test_shares_that_make_no_sense(texts):
    with pytest.raises(InvalidInput, match="expected"):
        read_shares(texts)


def test_requests_that_differ_have_other_keys():
    first = ("m", {"temperature": 0.7}, 0, "words", "digest")
    others = [("n", *first[1:]), ("m", {"temperature": 0}, *first[2:]), (*first[:2], 1, *first[3:]), (*first[:4], "x")]
    assert len({request_key(*first), *(request_key(*other) for other in others)}) == 5
    assert request_key(*first) == request_key(*first)


def test_a_stored_reply_comes_back(tmp_path):
    with ReplyStore(tmp_path) as store:
        store.put(REPLY)
    with ReplyStore(tmp_path) as store:
        assert store.get("k") == REPLY
        assert store.get("other") is None


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"key": 1}', json.dumps({**REPLY.__dict__, "tokens": -1})])
def test_a_damaged_reply_is_named_and_not_lost_unseen(tmp_path, line):
    with ReplyStore(tmp_path) as store:
        store.put(REPLY)
    before = (tmp_path / "replies.jsonl").read_text()
    (tmp_path / "replies.jsonl").write_text(line + "\n" + before)
    with pytest.raises(InvalidInput, match=r"replies.jsonl, line 1 is no reply"), ReplyStore(tmp_path):
        pass
    assert (tmp_path / "replies.jsonl").read_text() == line + "\n" + before


def test_costs_are_those_of_the_counted_replies():
    spent = spending([REPLY, REPLY, StoredReply("x", "a", "t", False, 0, 0)])
    assert (spent.prompt_tokens, spent.tokens, spent.uncounted) == (200, 20, 1)
    assert spent.cost(Prices(3, 15)) == pytest.approx(200 * 3e-6 + 20 * 15e-6)
    assert spent.cost(Prices()) is None
    for prices in ((1, None), (-1, 1), (float("nan"), 1)):
        with pytest.raises(InvalidInput):
            Prices(*prices)


def changed(path, **values):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **values}))
    return path


def test_objects_of_a_coco_file_are_listed_from_the_largest_on(tmp_path):
    picture = coco_pictures(write_coco(tmp_path), [tmp_path])[0].load()
    assert [one.name for one in picture.objects] == ["book", "cup", "spoon", "spoon"]
    assert picture.objects[1].names == ("cup", "mug")
    assert (picture.image.size_wh, picture.problems) == ((128, 96), ())


def test_one_wrong_annotation_costs_itself_only(tmp_path):
    path = write_coco(tmp_path, pictures=1)
    annotations = json.loads(path.read_text())["annotations"]
    annotations[0]["category_id"] = 77
    annotations[1]["segmentation"] = [[1, 2, "x"]]
    annotations[2]["iscrowd"] = 1
    picture = coco_pictures(changed(path, annotations=[*annotations, 5, {"image_id": [1]}]), [tmp_path])[0].load()
    assert [one.name for one in picture.objects] == ["spoon"]
    assert len(picture.problems) == 2
    assert "category 77 has no name" in picture.problems[0]
    assert [one.name for one in picture.unlisted] == ["spoon"]


@pytest.mark.parametrize(("value", "listed", "unlisted"), [("0", 4, 0), ("1", 3, 1), (True, 3, 1), (None, 4, 0)])
def test_iscrowd_is_read_as_it_is_meant(tmp_path, value, listed, unlisted):
    path = write_coco(tmp_path, pictures=1)
    annotations = json.loads(path.read_text())["annotations"]
    annotations[0]["iscrowd"] = value
    picture = coco_pictures(changed(path, annotations=annotations), [tmp_path])[0].load()
    assert (len(picture.objects), len(picture.unlisted), picture.problems) == (listed, unlisted, ())


@pytest.mark.parametrize("value", ["maybe", 2, [], 0.5])
def test_an_iscrowd_that_is_neither_0_nor_1_costs_its_annotation(tmp_path, value):
    path = write_coco(tmp_path, pictures=1)
    annotations = json.loads(path.read_text())["annotations"]
    annotations[0]["iscrowd"] = value
    picture = coco_pictures(changed(path, annotations=annotations), [tmp_path])[0].load()
    assert len(picture.objects) == 3 and not picture.unlisted
    assert "expected true or false" in picture.problems[0]


def test_an_image_that_leads_out_of_its_folder_or_has_another_size_is_refused(tmp_path):
    path = write_coco(tmp_path / "set", pictures=1)
    with pytest.raises(InvalidInput, match="leads out"):
        coco_pictures(changed(path, images=[{"id": 0, "file_name": "../0.png"}]), [tmp_path / "set"])[0].load()
    image = {"id": 0, "file_name": "0.png", "width": 64, "height": 96}
    with pytest.raises(InvalidInput, match="the annotation is of 64 x 96 pixels, the image of 128 x 96"):
        coco_pictures(changed(path, images=[image]), [tmp_path / "set"])[0].load()


def test_images_and_categories_of_one_id_are_not_mixed_up(tmp_path):
    path = write_coco(tmp_path, pictures=2)
    content = json.loads(path.read_text())
    images = [{**content["images"][0], "id": 9}, {**content["images"][1], "id": 9}, content["images"][1]]
    first, second, third = coco_pictures(changed(path, images=images), [tmp_path])
    for picture in (first, second):
        with pytest.raises(InvalidInput, match="other images have its id 9"):
            picture.load()
    assert third.load().objects
    one = content["categories"][0]
    twice = coco_pictures(changed(path, categories=[*content["categories"], {**one, "name": "other"}]), [tmp_path])
    problems = twice[2].load().problems
    assert problems and all("has no name, or two" in line for line in problems)
    same = coco_pictures(changed(path, categories=[*content["categories"], one]), [tmp_path])
    assert not same[2].load().problems


@pytest.mark.parametrize("kind", [str, float, lambda one: f" {one}"])
@pytest.mark.parametrize("place", ["images id", "annotations image_id", "annotations category_id"])
def test_ids_are_the_same_as_number_and_as_text(tmp_path, place, kind):
    part, key = place.split()
    path = write_coco(tmp_path, pictures=2)
    entries = json.loads(path.read_text())[part]
    for entry in entries:
        entry[key] = kind(entry[key])
    for picture in coco_pictures(changed(path, **{part: entries}), [tmp_path]):
        assert [one.name for one in picture.load().objects] == ["book", "cup", "spoon", "spoon"]


def test_annotations_without_their_image_are_not_lost_unseen(tmp_path):
    path = write_coco(tmp_path, pictures=2)
    content = json.loads(path.read_text())
    padded = [{**entry, "image_id": f"00{entry['image_id']}"} for entry in content["annotations"]]
    with pytest.raises(
        InvalidInput, match=r"no image_id of an annotation is the id of an image.*, such as 0 and '000'"
    ):
        coco_pictures(changed(path, annotations=padded), [tmp_path])
    nameless = [{**content["annotations"][0], "image_id": None}, *content["annotations"][1:]]
    *_, last = coco_pictures(changed(path, annotations=nameless), [tmp_path])
    with pytest.raises(InvalidInput, match="1 annotations name no image, for example by None"):
        last.load()
    images = [{**content["images"][0], "id": 0.5}, content["images"][1]]
    first, *_ = coco_pictures(changed(path, annotations=content["annotations"], images=images), [tmp_path])
    with pytest.raises(InvalidInput, match=r"its id is 0\.5, so its annotations cannot be assigned"):
        first.load()


def test_an_object_that_lost_a_polygon_is_listed(tmp_path):
    path = write_coco(tmp_path, pictures=1)
    annotations = json.loads(path.read_text())["annotations"]
    annotations[0]["segmentation"] = [[1, 2, 3, 4], [10, 10, 60, 10, 60, 60, 10, 60]]
    picture = coco_pictures(changed(path, annotations=annotations), [tmp_path])[0].load()
    assert len(picture.problems) == 1 and "polygon 1 is left out" in picture.problems[0]


@pytest.mark.parametrize("values", [{"images": []}, {"images": 5}, {"annotations": None}, {"categories": {}}])
def test_a_file_that_is_none_of_coco_is_refused(tmp_path, values):
    with pytest.raises(InvalidInput, match="COCO-style"):
        coco_pictures(changed(write_coco(tmp_path), **values), [tmp_path])


def test_a_split_that_leads_out_of_the_folder_is_refused(tmp_path):
    mask = {"size": [2, 2], "counts": [0, 4]}
    names = {"id": "q", "picture": "pictures/a.png", "source": "a", "kind": "", "question": "q", "answer": "a"}
    line = {**names, "split": "../../out", "targets": [{"name": "cup", "mask": mask}]}
    (tmp_path / QUESTIONS_NAME).write_text(json.dumps(line) + "\n")
    with pytest.raises(InvalidInput, match=r"line 1 is no question .*expected a plain name"):
        write_bags(tmp_path)


def test_the_bag_of_a_split_goes_with_its_last_question_and_no_other_folder_does(tmp_path):
    write_image(tmp_path / "pictures/a.png", np.zeros((4, 6, 3), np.uint8))
    target = AnsweringObject("cup", rle_from_mask(np.ones((4, 6), bool)))
    questions = [
        DataQuestion(split, "pictures/a.png", "a", split, "simple", f"Which one? {split}", "That.", (target,))
        for split in ("train", "val")
    ]
    write_lines(tmp_path / QUESTIONS_NAME, questions)
    assert [bag.path.name for bag in write_bags(tmp_path)] == ["train", "val"]
    (tmp_path / "bags/mine").mkdir()
    add_decision(tmp_path, "train", True)
    written = write_bags(tmp_path)
    assert sorted(path.name for path in (tmp_path / "bags").iterdir()) == ["mine", "train"]
    assert other_bags(tmp_path, written) == [tmp_path / "bags/mine"]

import collections
import json
import pickle

import numpy as np
import pytest

from reasonseg_ros import cli

NAME = "COCO_train2014_000000000007.jpg"
SQUARE = [[10.0, 10.0, 20.0, 10.0, 20.0, 20.0, 10.0, 20.0]]


def ref(ref_id, ann_id, *texts, split="val", image_id=7):
    sentences = [{"sent_id": 10 * ref_id + n, "sent": text, "tokens": text.split()} for n, text in enumerate(texts)]
    return {
        "ref_id": ref_id, "ann_id": ann_id, "image_id": image_id, "split": split, "category_id": 1,
        "sentences": sentences, "sent_ids": [sentence["sent_id"] for sentence in sentences], "file_name": NAME,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path, photo, write_json, rectangle):
    base = tmp_path / "refer"
    photo(base / "images/mscoco/images/train2014" / NAME)
    annotations = [
        {"id": 1, "image_id": 7, "segmentation": SQUARE},
        {"id": 2, "image_id": 7, "segmentation": {"size": [30, 40], "counts": [0, 3, 1197]}},
        {"id": 3, "image_id": 7, "segmentation": [[1, 1, 2, 2]]},
        {"id": 4, "image_id": 7, "segmentation": [[1, 1, 2, 2], *SQUARE]},
        {"id": 5, "image_id": 7, "segmentation": [[1, 1, 2, 2, 3], *SQUARE]},
    ]
    images = [{"id": 7, "file_name": NAME, "width": 40, "height": 30}, {"id": 8, "file_name": "gone.jpg"}]
    write_json(base / "refcoco" / "instances.json", {"images": images, "annotations": annotations})
    return base


def write_refs(folder, refs, by="unc", protocol=2):
    (folder / "refcoco" / f"refs({by}).p").write_bytes(pickle.dumps(refs, protocol=protocol))


def test_every_expression_of_an_image_is_asked_about_it_once_shown(folder, convert):
    refs = [ref(1, 1, "left mug", "the mug"), ref(2, 2, "corner"), ref(3, 1, "other split", split="testA")]
    write_refs(folder, refs)
    bag = convert("from-refcoco", folder, "--split", "val")
    assert bag.status == 0 and len(bag.images) == 1
    assert bag.queries == {"1-10": "left mug", "1-11": "the mug", "2-20": "corner"}
    square = np.zeros((30, 40), bool)
    square[10:20, 10:20] = True
    assert np.array_equal(bag.mask("1-10"), square) and np.array_equal(bag.mask("1-11"), square)
    corner = np.zeros((30, 40), bool)
    corner[:3, 0] = True
    assert np.array_equal(bag.mask("2-20"), corner)


def test_what_cannot_be_used_is_reported_and_counted(folder, convert):
    refs = [
        ref(1, 1, "sound"), ref(2, 3, "two points"), ref(3, 4, "partly broken", "once more"), ref(4, 99, "no mask"),
        ref(5, 1, ""), ref(6, 1, "no file", image_id=8), ref(7, 1, "no such image", image_id=9),
        ref(8, 5, "odd number"),
    ]  # fmt: skip
    write_refs(folder, refs)
    bag = convert("from-refcoco", folder)
    assert bag.status == 1
    assert "pictures: 3 read, 1 written, 2 left out" in bag.out
    assert "questions: 7 read, 4 written, 3 left out" in bag.out
    assert "shapes: 2 left out" in bag.out
    assert set(bag.queries) == {"1-10", "3-30", "3-31", "8-80"}
    assert len(bag.problems) == 7


def test_python_2_text_of_any_encoding_is_read(folder, convert):
    # Protocol 0 as Python 2 wrote it: S'...' is a byte string.
    template = (
        "(lp0\n(dp1\nS'ref_id'\nI1\nsS'ann_id'\nI1\nsS'image_id'\nI7\nsS'split'\nS'val'\ns"
        "S'sentences'\n(lp2\n(dp3\nS'sent_id'\nI5\nsS'sent'\nS'%s'\nsasa."
    )
    for text in (r"caf\xc3\xa9", r"caf\xe9"):
        (folder / "refcoco" / "refs(unc).p").write_text(template % text)
        assert convert("from-refcoco", folder, "--force").queries == {"1-5": "café"}


@pytest.mark.parametrize("payload", [collections.OrderedDict(), np.int64(3), print])
def test_a_pickle_that_asks_for_code_is_refused(folder, payload, tmp_path, capsys):
    write_refs(folder, [{**ref(1, 1, "mug"), "extra": payload}])
    assert cli.main(["bag", "from-refcoco", str(folder), "--out", str(tmp_path / "bag")]) == 2
    assert "do not trust it" in capsys.readouterr().err


def test_a_pickle_that_runs_a_command_does_not_run_it(folder, tmp_path, capsys):
    trace = tmp_path / "trace"
    (folder / "refcoco" / "refs(unc).p").write_bytes(b"cos\nsystem\n(S'touch %s'\ntR." % str(trace).encode())
    assert cli.main(["bag", "from-refcoco", str(folder), "--out", str(tmp_path / "bag")]) == 2
    assert "os.system" in capsys.readouterr().err
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"junk", "it is damaged"), (pickle.dumps({"a": 1}), "no reference"), (pickle.dumps([{"ref_id": 1}]), "entry 0")],
)
def test_damaged_refs_are_named(folder, content, reason, tmp_path, capsys):
    (folder / "refcoco" / "refs(unc).p").write_bytes(content)
    assert cli.main(["bag", "from-refcoco", str(folder), "--out", str(tmp_path / "bag")]) == 2
    assert reason in capsys.readouterr().err


def test_splits_and_files_that_are_not_there_are_named(folder, tmp_path, capsys):
    write_refs(folder, [ref(1, 1, "mug"), ref(2, 1, "mug", split="testB")])
    assert cli.main(["bag", "from-refcoco", str(folder), "--out", str(tmp_path / "bag"), "--split", "test"]) == 2
    assert "it has testB, val" in capsys.readouterr().err
    assert cli.main(["bag", "from-refcoco", str(folder), "--out", str(tmp_path / "bag"), "--by", "umd"]) == 2
    assert "refs(umd).p cannot be read" in capsys.readouterr().err


@pytest.fixture
def edited(folder):
    """Writes instances.json anew after a change of its content."""
    path = folder / "refcoco" / "instances.json"

    def write(change):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        write_refs(folder, [ref(1, 1, "left mug")])
        return folder

    return write


def larger(content):
    content["images"][0].update(width=80, height=60)


def of_another_image(content):
    content["annotations"][0]["image_id"] = 8


def joined(content):
    content["annotations"].append({"id": 1, "image_id": 7, "segmentation": [[1, 1, 9, 1, 9, 9]]})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (larger, "the annotation is of 80 x 60 pixels, the image of 40 x 30"),
        (of_another_image, "annotation 1 is of image 8"),
        (joined, "annotation 1 is missing or repeated in instances.json"),
    ],
)
def test_polygons_of_another_image_are_refused(edited, convert, change, reason):
    bag = convert("from-refcoco", edited(change), "--split", "val")
    assert bag.status != 0 and not bag.truths
    assert any(reason in line for line in bag.problems)

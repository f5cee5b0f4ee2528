import numpy as np
import pytest
from PIL import Image

from reasonseg_ros.images.mask_codec import decode_mask


def polygon(label, x1, y1, x2, y2):
    return {"label": label, "points": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]], "shape_type": "polygon"}


@pytest.fixture
def folder(tmp_path, photo, write_json):
    """Two sound samples of split val; the first is in cp1252, has two texts and a part to ignore."""
    base = tmp_path / "ReasonSeg" / "val"
    photo(base / "a.jpg")
    shapes = [polygon("ignore", 10, 10, 14, 14), polygon("target", 5, 5, 20, 20), polygon("flag", 0, 0, 39, 29)]
    content = {"text": ["the café's €5 sign", "what names the place?"], "is_sentence": False, "shapes": shapes}
    write_json(base / "a.json", content, "cp1252")
    photo(base / "b.jpg", (50, 20))
    shapes = [polygon("target", 1, 1, 5, 5), polygon("target", 30, 3, 40, 9)]
    write_json(base / "b.json", {"text": ["What can one sit on?"], "is_sentence": True, "shapes": shapes})
    return base.parent


def test_samples_become_images_questions_and_masks(folder, convert, rectangle):
    bag = convert("from-reasonseg", folder, "--split", "val")
    assert bag.status == 0 and bag.problems == []
    assert "pictures: 2 read, 2 written, 0 left out" in bag.out
    assert "questions: 2 read, 2 written, 0 left out" in bag.out
    assert bag.queries == {"a": "the café's €5 sign", "b": "What can one sit on?"}
    ignore = rectangle(10, 10, 14, 14)
    assert np.array_equal(bag.mask("a"), rectangle(5, 5, 20, 20) & ~ignore)
    assert np.array_equal(decode_mask(bag.truth("a").ignore), ignore)
    assert np.array_equal(bag.mask("b"), rectangle(1, 1, 5, 5, (50, 20)) | rectangle(30, 3, 40, 9, (50, 20)))
    assert not decode_mask(bag.truth("b").ignore).any()
    assert [(t.split, t.kind, t.is_sentence) for t in bag.truths] == [("val", "", False), ("val", "", True)]


@pytest.mark.parametrize(
    ("written", "meant"), [("false", False), ("True", True), (0, False), ("1", True), (None, False)]
)
def test_is_sentence_is_read_as_it_is_meant(tmp_path, photo, write_json, convert, written, meant):
    base = tmp_path / "set" / "val"
    photo(base / "a.jpg")
    content = {"text": ["it"], "is_sentence": written, "shapes": [polygon("target", 1, 1, 5, 5)]}
    write_json(base / "a.json", content)
    bag = convert("from-reasonseg", base.parent)
    assert bag.status == 0 and bag.truth("a").is_sentence is meant


def test_an_is_sentence_that_is_neither_is_refused(tmp_path, photo, write_json, convert):
    base = tmp_path / "set" / "val"
    photo(base / "a.jpg")
    write_json(base / "a.json", {"text": ["it"], "is_sentence": "maybe", "shapes": [polygon("target", 1, 1, 5, 5)]})
    bag = convert("from-reasonseg", base.parent)
    assert bag.status == 1 and "is_sentence is 'maybe'; expected true or false" in bag.problems[0]


def test_the_photographs_are_kept_byte_by_byte(folder, convert):
    images = list(convert("from-reasonseg", folder).images.values())
    assert [image.format for image in images] == ["jpeg", "jpeg"]
    assert [bytes(image.data) for image in images] == [(folder / "val" / f"{x}.jpg").read_bytes() for x in "ab"]


def test_further_texts_are_asked_on_request(folder, convert):
    bag = convert("from-reasonseg", folder, "--all-texts")
    assert bag.queries["a-1"] == "what names the place?" and len(bag.queries) == 3
    assert np.array_equal(bag.mask("a"), bag.mask("a-1"))
    assert "questions: 3 read, 3 written" in bag.out


def test_a_turned_photograph_is_stored_upright(tmp_path, photo, write_json, convert, rectangle):
    base = tmp_path / "set" / "val"
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(base / "a.jpg", (30, 40), exif=exif)
    write_json(base / "a.json", {"text": ["it"], "is_sentence": False, "shapes": [polygon("target", 30, 2, 38, 9)]})
    bag = convert("from-reasonseg", base.parent)
    assert bag.status == 0
    assert np.array_equal(bag.mask("a"), rectangle(30, 2, 38, 9))
    (image,) = bag.images.values()
    assert image.format == "png"


def test_no_shapes_are_a_question_without_target(tmp_path, photo, write_json, convert):
    base = tmp_path / "set" / "val"
    photo(base / "a.jpg")
    write_json(base / "a.json", {"text": ["a unicorn"], "is_sentence": False, "shapes": []})
    bag = convert("from-reasonseg", base.parent)
    assert bag.status == 0 and not bag.mask("a").any()


def test_what_cannot_be_used_is_reported_and_counted(folder, photo, write_json, convert):
    base = folder / "val"
    sound = {"text": ["it"], "is_sentence": False, "shapes": [polygon("target", 1, 1, 5, 5)]}
    half_a_point = {"label": "target", "points": [[1, 1], [9]]}
    nan = {"label": "target", "points": [[1, 1], [9, float("nan")], [4, 4]]}
    for name, content in {
        "c_half_a_point": {**sound, "shapes": [*sound["shapes"], half_a_point]},
        "d_nan_only": {**sound, "shapes": [nan]},
        "e_empty_text": {**sound, "text": ["  "]},
        "f_no_text": {"is_sentence": False, "shapes": []},
        "g_text_is_numbers": {**sound, "text": [7]},
        "h_no_shapes": {"text": ["it"]},
        "i_other_size": {**sound, "shapes": [polygon("target", 900, 900, 950, 950)]},
        "j_no_image": sound,
    }.items():
        write_json(base / f"{name}.json", content)
        if name != "j_no_image":
            photo(base / f"{name}.jpg")
    photo(base / "k_no_json.jpg")
    photo(base / "l_utf16.jpg")
    write_json(base / "l_utf16.json", sound, "utf-16")
    (base / "m_cut.jpg").write_bytes(photo(base / "m_cut.jpg")[:-200])
    write_json(base / "m_cut.json", sound)
    photo(base / "n_list.jpg")
    write_json(base / "n_list.json", [1])
    photo(base / "o_twice.jpg")
    photo(base / "o_twice.png")
    write_json(base / "o_twice.json", sound)

    bag = convert("from-reasonseg", folder)
    assert bag.status == 1
    assert "pictures: 15 read, 3 written, 12 left out" in bag.out
    assert "questions: 4 read, 3 written, 1 left out" in bag.out
    assert "shapes: 1 left out" in bag.out
    assert set(bag.queries) == {"a", "b", "c_half_a_point"}
    reported = {line.split(":")[0].removeprefix("val/"): line for line in bag.problems}
    assert len(reported) == len(bag.problems) == 13
    for name, reason in {
        "c_half_a_point": "no list of [x, y]; draw it again",
        "d_nan_only": "no usable target polygon",
        "e_empty_text": "the question is empty; write its text",
        "f_no_text": "has no 'text'",
        "g_text_is_numbers": "has no 'text'",
        "h_no_shapes": "has no 'shapes'",
        "i_other_size": "outside the image of 40 x 30",
        "j_no_image": "is missing; put it there",
        "k_no_json": "is missing; get it",
        "l_utf16": "save it again as UTF-8",
        "m_cut": "is damaged",
        "n_list": "expected an object",
        "o_twice": "share one annotation",
    }.items():
        assert reason in reported[name]


def test_a_split_that_is_not_there_names_those_that_are(folder, convert, capsys):
    assert convert("from-reasonseg", folder, "--split", "test").status == 2
    (folder / "train").mkdir()
    assert convert("from-reasonseg", folder, "--split", "train").status == 2


def test_sgdr_keeps_its_kinds(tmp_path, photo, write_json, convert):
    base = tmp_path / "sgdr" / "test"
    kinds = ["discriminative", "spatial", "Geometric", "multi-step", "poetic"]
    for name, kind in zip("abcde", kinds, strict=True):
        photo(base / f"{name}.jpg")
        content = {"text": ["it"], "kind": kind, "is_sentence": True, "shapes": [polygon("target", 1, 1, 5, 5)]}
        write_json(base / f"{name}.json", content)
    bag = convert("from-sgdr", base.parent)
    assert bag.status == 1
    assert [truth.kind for truth in bag.truths] == ["discriminative", "spatial", "geometric", "multi_step"]
    (line,) = bag.problems
    assert line.startswith("test/e: ") and "'poetic'" in line and "multi_step" in line


@pytest.fixture
def annotated(tmp_path, photo, write_json, convert):
    """Converts one sample with these values in its annotation."""

    def write(encoding="utf-8", **values):
        base = tmp_path / "set" / "val"
        photo(base / "a.jpg")
        content = {"text": ["it"], "is_sentence": False, "shapes": [polygon("target", 5, 5, 20, 20)], **values}
        write_json(base / "a.json", content, encoding)
        return convert("from-reasonseg", base.parent)

    return write


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("哪个杯子可以喝水", "gbk"),
        ("飲み物を入れるものはどれ", "shift_jis"),
        ("마실 수 있는 것은 무엇입니까", "euc_kr"),
        ("из чего можно пить", "cp1251"),
        ("από τι μπορώ να πιω", "iso8859_7"),  # noqa: RUF001
    ],
)
def test_questions_in_other_encodings_are_refused_instead_of_garbled(annotated, text, encoding):
    bag = annotated(encoding, text=[text])
    assert bag.status != 0 and not bag.queries
    assert "save it again as UTF-8" in bag.problems[0]


WESTERN = [
    "“…what\u2019s that?”", "« Où est l\u2019île ? »", "die Füße…”", "une fée créée\xa0!", "smörgåsen",
]  # fmt: skip


@pytest.mark.parametrize("text", WESTERN)
def test_questions_of_western_letters_are_read_in_cp1252(annotated, text):
    assert annotated("cp1252", text=[text]).queries == {"a": text}


def test_an_annotation_of_another_size_is_refused(annotated):
    bag = annotated(imageWidth=80, imageHeight=60)
    assert not bag.truths and "the annotation is of 80 x 60 pixels, the image of 40 x 30" in bag.problems[0]


def test_an_annotation_may_state_the_images_size(annotated):
    assert annotated(imageWidth=40, imageHeight=30).status == 0

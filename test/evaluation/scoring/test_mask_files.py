"""Masks from PNG and from COCO run lengths, damaged ones included."""

import contextlib
import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.mask_files import activations_in, mask_from_coco, predictions_in, targets_in
from reasonseg_ros.images.run_lengths import encode_rle

VALUES = np.array([[0, 1, 1, 255], [0, 0, 1, 255], [0, 2, 0, 0]], np.uint8)


def compressed(mask):
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(length) for length in code["size"]], "counts": code["counts"].decode()}


def uncompressed(mask):
    return {"size": list(mask.shape), "counts": encode_rle(mask).tolist()}


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 70), st.sampled_from([0, 0.01, 0.5, 0.99, 1]))
def test_both_kinds_of_coco_run_lengths(seed, height, width, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    assert (mask_from_coco(compressed(mask)) == mask).all()
    assert (mask_from_coco(uncompressed(mask)) == mask).all()


def test_long_runs_of_a_large_mask():
    mask = np.zeros((2000, 3000), bool)
    mask[1990:, 2990:] = mask[0, 0] = True
    assert (mask_from_coco(compressed(mask)) == mask).all()


@given(st.text(st.characters(codec="utf-8")) | st.text("0123456789:;<=>?@PQRSTnop`"))
def test_any_string_is_a_mask_of_the_size_or_refused(counts):
    with contextlib.suppress(InvalidInput):
        assert mask_from_coco({"size": [5, 4], "counts": counts}).shape == (5, 4)


@pytest.mark.parametrize(
    "rle",
    [
        None,
        7,
        [],
        {},
        {"size": [4, 4]},
        {"size": [4], "counts": [16]},
        {"size": [4, 4], "counts": [15]},
        {"size": [4, 4], "counts": [20, -4]},
        {"size": [4, 4], "counts": [[16]]},
        {"size": [4, 4], "counts": ["many"]},
        {"size": [4, 4], "counts": [10**30]},
        {"size": [4, 4], "counts": None},
        {"size": [0, 4], "counts": []},
        {"size": [-4, -4], "counts": [16]},
        {"size": [10**6, 10**6], "counts": [10**12]},
        {"size": [4, 4], "counts": ""},
        {"size": [4, 4], "counts": "P"},  # announces another character
        {"size": [4, 4], "counts": "o" * 1000},
        {"size": [4, 4], "counts": "ü"},
    ],
)
def test_what_is_no_mask_is_refused(rle):
    with pytest.raises(InvalidInput):
        mask_from_coco(rle)


def read_all(readers):
    return {name: read() for name, read in readers.items()}


def test_values_of_a_png(tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), VALUES)
    assert (predictions_in(tmp_path)["x"]() == (VALUES > 0)).all()
    true = targets_in(tmp_path)["x"]()
    assert (true.target == ((VALUES > 0) & (VALUES < 255))).all()
    assert (true.ignore == (VALUES == 255)).all()


def test_a_target_without_255_ignores_nothing(tmp_path):
    cv2.imwrite(str(tmp_path / "x.png"), VALUES % 2)
    assert targets_in(tmp_path)["x"]().ignore is None


@pytest.mark.parametrize("kind", ["palette", "bits", "grey in colour", "grey with alpha", "16 bit"])
def test_every_way_to_store_a_mask(tmp_path, kind):
    marked = VALUES == 1
    image = Image.fromarray(marked.astype(np.uint8))
    if kind == "palette":
        image = image.convert("P")
        image.putpalette([0, 0, 0, 0, 0, 0])  # two indices of one colour
        assert image.mode == "P"
    elif kind == "bits":
        image = Image.fromarray(marked)
    elif kind == "grey in colour":
        image = image.convert("RGB")
    elif kind == "grey with alpha":
        image = image.convert("LA")
    else:
        image = Image.fromarray(marked.astype(np.uint16))
    image.save(tmp_path / "x.png")
    assert (predictions_in(tmp_path)["x"]() == marked).all()
    assert (targets_in(tmp_path)["x"]().target == marked).all()


def damaged(kind):
    whole = cv2.imencode(".png", np.random.default_rng(0).integers(0, 2, (40, 40), np.uint8))[1].tobytes()
    if kind == "colour":
        return cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8))[1].tobytes()
    huge = whole[:16] + (10**5).to_bytes(4, "big") * 2 + whole[24:]
    return {"empty": b"", "text": b"not a picture", "cut off": whole[: len(whole) // 2], "huge": huge}[kind]


@pytest.mark.parametrize("kind", ["empty", "text", "cut off", "huge", "colour"])
def test_damaged_pngs_are_refused_by_name(tmp_path, kind):
    (tmp_path / "x.png").write_bytes(damaged(kind))
    for readers in (predictions_in(tmp_path), targets_in(tmp_path)):
        with pytest.raises(InvalidInput, match=r"x\.png"):
            readers["x"]()


def test_json_beside_pngs_and_in_one_file(tmp_path):
    mask = VALUES > 0
    folder = tmp_path / "masks"
    (folder / "deeper").mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), VALUES)
    (folder / "b.json").write_text(json.dumps(compressed(mask)))
    (folder / "deeper" / "c.json").write_text("null")
    read = read_all(predictions_in(folder))
    assert list(read) == ["a", "b", "deeper/c"]
    assert (read["a"] == mask).all() and (read["b"] == mask).all() and read["deeper/c"] is None
    together = tmp_path / "all.json"
    together.write_text(json.dumps({"a": {"target": uncompressed(mask), "ignore": compressed(VALUES == 255)}}))
    true = targets_in(together)["a"]()
    assert (true.target == mask).all() and (true.ignore == (VALUES == 255)).all()
    together.write_text(json.dumps({"a": {"target": uncompressed(mask), "ignore": uncompressed(mask.T)}}))
    with pytest.raises(InvalidInput, match="ignore mask"):
        targets_in(together)["a"]()


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"size": [1, 1], "counts": [1]}', "[" * 100_000])
def test_a_file_that_is_no_table_of_masks_is_refused(tmp_path, text):
    (tmp_path / "all.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"all\.json"):
        predictions_in(tmp_path / "all.json")


def test_folders_with_no_mask_or_two_of_a_name_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="nowhere"):
        predictions_in(tmp_path / "nowhere")
    (tmp_path / "x.jpg").touch()
    with pytest.raises(InvalidInput, match=r"no \.png"):
        predictions_in(tmp_path)
    (tmp_path / "x.png").touch()
    (tmp_path / "x.json").touch()
    with pytest.raises(InvalidInput, match="two files named x"):
        predictions_in(tmp_path)


@pytest.mark.parametrize("values", [np.zeros((2, 3, 4)), np.array([["a"]]), np.zeros((2, 2), complex)])
def test_an_array_that_is_no_map_is_refused(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InvalidInput, match=r"a\.npy"):
        activations_in(tmp_path)["a"]()


def test_a_map_of_pickled_objects_or_in_an_archive_is_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    np.savez(tmp_path / "archive.npz", a=np.zeros((2, 2)))
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    for name, read in activations_in(tmp_path).items():
        with pytest.raises(InvalidInput, match=name):
            read()


def test_a_map_of_any_numbers_is_read(tmp_path):
    np.save(tmp_path / "half.npy", np.full((2, 3), 0.5, np.float16))
    (tmp_path / "png").mkdir()
    cv2.imwrite(str(tmp_path / "png" / "deep.png"), np.full((2, 3), 40000, np.uint16))
    readers = activations_in(tmp_path)
    assert (readers["half"]() == 0.5).all() and (readers["png/deep"]() == 40000).all()

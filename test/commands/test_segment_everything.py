"""`reasonseg segment-everything` on a rendered scene, judged by pycocotools."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco

from reasonseg_ros import cli
from reasonseg_ros.files.resources import resource
from reasonseg_ros.images.files import read_image

PICTURE = resource("models/tabletop/known_picture.jpg")


def test_masks_are_printed_written_and_drawn(tmp_path, capsys):
    out, masks = tmp_path / "drawn.png", tmp_path / "masks.json"
    words = ["segment-everything", str(PICTURE), "--out", str(out), "--json", str(masks), "--device", "cpu"]
    assert cli.main(words) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    records = json.loads(masks.read_text())
    assert len(records) == len(printed) >= 3
    areas = [record["area"] for record in records]
    assert areas == sorted(areas, reverse=True)
    height, width = read_image(PICTURE).shape[:2]
    for record, line in zip(records, printed, strict=True):
        assert line == {name: value for name, value in record.items() if name != "segmentation"}
        coded = coco.frPyObjects(record["segmentation"], height, width)
        assert coco.area(coded) == record["area"]
        np.testing.assert_array_equal(coco.toBbox(coded), record["bbox"])
    coded = [coco.frPyObjects(record["segmentation"], height, width) for record in records]
    ious = coco.iou(coded, coded, [False] * len(coded))
    assert (ious - np.eye(len(coded))).max() < 0.75  # nothing comes twice
    assert (read_image(out) != read_image(PICTURE)).any()


@pytest.mark.parametrize(("grid", "words"), [("0x3", "is not a size"), ("500x500", "grid of 500x500 points")])
def test_a_grid_that_cannot_be_asked_is_an_error(grid, words, capsys):
    try:
        status = cli.main(["segment-everything", str(PICTURE), "--grid", grid])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert words in capsys.readouterr().err

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from reasonseg_ros import cli


def image_file(size_wh=(40, 30), kind="JPEG"):
    buffer = io.BytesIO()
    Image.new("RGB", size_wh, (90, 120, 30)).save(buffer, kind)
    return buffer.getvalue()


def row(number, mask, **more):
    data = {"bytes": image_file(), "path": None}
    mask = mask.tolist() if isinstance(mask, np.ndarray) else mask
    return {"image": data, "text": f"question {number}", "mask": mask, "image_id": f"im{number}", "ann_id": "1", **more}


def write(path, rows, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)


def test_rows_become_images_questions_and_masks(tmp_path, convert, rectangle):
    masks = [rectangle(n, 2, 10 + n, 20) for n in range(5)]
    rows = [row(n, mask, img_height=30, img_width=40) for n, mask in enumerate(masks)]
    write(tmp_path / "set/data/test-00000-of-00002.parquet", rows[:3], row_group_size=2)
    write(tmp_path / "set/data/test-00001-of-00002.parquet", rows[3:])
    write(tmp_path / "set/data/train-00000-of-00001.parquet", rows[:1])
    bag = convert("from-parquet", tmp_path / "set", "--split", "test")
    assert bag.status == 0 and "pictures: 5 read, 5 written" in bag.out
    assert bag.queries == {f"im{n}-1": f"question {n}" for n in range(5)}
    for n, mask in enumerate(masks):
        assert np.array_equal(bag.mask(f"im{n}-1"), mask)
    assert {bytes(image.data) for image in bag.images.values()} == {image_file()}


def test_a_single_file_and_other_types_are_read(tmp_path, convert, rectangle):
    mask = rectangle(3, 3, 9, 9)
    numbers = row(0, mask.astype(int), image=image_file(kind="BMP"), image_id=7, ann_id=9)
    write(tmp_path / "one.parquet", [numbers])
    bag = convert("from-parquet", tmp_path / "one.parquet")
    assert bag.status == 0 and np.array_equal(bag.mask("7-9"), mask)
    (image,) = bag.images.values()
    assert image.format == "png"


def test_what_cannot_be_used_is_reported_and_counted(tmp_path, convert, rectangle):
    sound = rectangle(3, 3, 9, 9)
    ragged = sound.tolist()
    ragged[4] = ragged[4][:-1]
    holes = sound.tolist()
    holes[4][4] = None
    rows = [
        row(0, sound),
        row(1, ragged),
        row(2, holes),
        row(3, rectangle(1, 1, 2, 2, (20, 20))),
        row(4, sound, text=None),
        row(5, sound, image={"bytes": image_file()[:-100], "path": None}),
        row(6, sound, image={"bytes": None, "path": "a.jpg"}),
        row(7, []),
        row(8, None),
    ]
    write(tmp_path / "one.parquet", rows)
    bag = convert("from-parquet", tmp_path / "one.parquet")
    assert bag.status == 1 and set(bag.queries) == {"im0-1"}
    assert "pictures: 9 read, 1 written, 8 left out" in bag.out
    assert "questions: 7 read, 1 written, 6 left out" in bag.out
    reasons = ["differ in length", "missing pixels", "20 x 20", "is empty", "is damaged", "no bytes", "differ", "rows"]
    assert len(bag.problems) == len(reasons)
    for line, reason in zip(bag.problems, reasons, strict=True):
        assert reason in line


@pytest.mark.parametrize("name", ["lacking.parquet", "junk.parquet", "nowhere.parquet"])
def test_files_that_are_not_as_published_are_named(tmp_path, name, capsys):
    write(tmp_path / "lacking.parquet", [{"image": b"", "text": "a"}])
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 and then nothing")
    assert cli.main(["bag", "from-parquet", str(tmp_path / name), "--out", str(tmp_path / "bag")]) == 2
    assert {"lac": "lacks the columns mask", "jun": "no parquet file", "now": "there is no"}[name[:3]] in (
        capsys.readouterr().err
    )

"""Impossible masks and ground truths are failed samples, never a traceback."""

import json
import zlib

import pytest

from reasonseg_ros import cli
from reasonseg_ros.evaluation.result_lines import Results


def png_of(width, height):
    """A PNG whose header says a size, with a few bytes of data."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


MASKS = {
    "deep.json": b"[" * 200_000,
    "nan.json": b'{"size": [2, NaN], "counts": [4]}',
    "huge.json": b'{"size": [4000000000, 4000000000], "counts": [16000000000000000000]}',
    "large.json": b'{"size": [100000, 100000], "counts": [10000000000]}',
    "overflow.json": b'{"size": [2, 2], "counts": [4611686018427387904, 4611686018427387904, 9223372036854775812]}',
    "fractions.json": b'{"size": [2, 2], "counts": [1.5, 2.5]}',
    "twice.json": b'{"size": [2, 2], "counts": [4], "counts": [0, 4]}',
    "digits.json": b'{"size": [2, 2], "counts": [' + b"1" * 10_000 + b"]}",
    "huge.png": png_of(30_000, 30_000),
    "short.png": png_of(10_000, 10_000),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_that_cannot_be_is_one_failed_name(name, tmp_path, capsys):
    for folder in ("said", "true"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "good.json").write_text('{"size": [2, 2], "counts": [1, 3]}')
    stem = name.replace(".", "_")
    (tmp_path / "said" / f"{stem}.{name.rpartition('.')[2]}").write_bytes(MASKS[name])
    (tmp_path / "true" / f"{stem}.json").write_text('{"size": [2, 2], "counts": [0, 4]}')
    arguments = ["score", "--predictions", str(tmp_path / "said"), "--targets", str(tmp_path / "true")]
    assert cli.main(arguments) == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["samples"], found["scored"], found["problems"]["unreadable"]) == (2, 1, 1)
    assert found["giou"] == pytest.approx(0.5, abs=1e-5)
    (line,) = printed.err.strip().splitlines()
    assert stem in line and "counts 0" in line and len(line) < 1200


def test_predictions_in_one_file_keep_every_name(tmp_path, capsys):
    mask = '{"size": [2, 2], "counts": [0, 4]}'
    (tmp_path / "said.json").write_text(f'{{"a": {mask}, "a": null}}')
    (tmp_path / "true.json").write_text(f'{{"a": {mask}}}')
    arguments = ["score", "--predictions", str(tmp_path / "said.json"), "--targets", str(tmp_path / "true.json")]
    assert cli.main(arguments) == cli.USAGE_ERROR
    assert "the key 'a' stands twice" in capsys.readouterr().err


TRUTHS = {
    "a box with NaN": {"boxes": [(1.0, float("nan"), 5.0, 5.0)]},
    "an endless box": {"boxes": [(1.0, 1.0, float("inf"), 5.0)]},
    "an empty box": {"boxes": [(5.0, 5.0, 5.0, 9.0)]},
    "a box from right to left": {"boxes": [(9.0, 5.0, 5.0, 9.0)]},
    "a point with NaN": {"points": [(float("nan"), 3.0)]},
}


@pytest.mark.parametrize("case", TRUTHS)
def test_a_ground_truth_that_cannot_be_is_one_failed_sample(case, method, make_bag, samples_of, tmp_path, capsys):
    def change(messages):
        truth = next(m for topic, m, _ in messages if topic.endswith("truth") and m.query_id == "b")
        box = truth.boxes[0]
        for name, values in TRUTHS[case].items():
            if name == "boxes":
                made = [type(box)(**dict(zip(("x1", "y1", "x2", "y2"), value, strict=True))) for value in values]
            else:
                from reasonseg_ros.bags import typestore

                made = [typestore().types["reasonseg_ros/msg/Point2D"](*value) for value in values]
            object.__setattr__(truth, name, made)
        return messages

    bag, out = make_bag([samples_of(name) for name in "abc"], change=change), tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == 1
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["samples"], summary["scored"], summary["failed"]) == (3, 2, 1)
    (lost,) = summary["unreadable"]
    assert lost["sample_id"] == "b" and "its ground truth is damaged" in lost["reason"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["mask_score", "box_iou"])
def test_a_number_that_is_not_finite_is_a_failed_sample_and_never_written(
    value, place, method, make_bag, samples_of, tmp_path, capsys
):
    from dataclasses import replace

    answer = method.answer

    def broken(frame, query, call):
        found = answer(frame, query, call)
        if query.query_id != "b":
            return found
        return replace(found, regions=tuple(replace(region, **{place: value}) for region in found.regions))

    method.answer = broken
    bag, out = make_bag([samples_of(name) for name in "abc"]), tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == 1
    assert "--resume asks them again" in capsys.readouterr().err
    results = Results(out)
    assert [result.status for result in results.values()] == ["ok", "failed", "ok"]
    assert f"regions[0].{place} is not finite" in results["b"].error
    for name in ("results.json", "results.jsonl", "summary.json", "report.html"):
        text = (out / name).read_text()
        assert "NaN" not in text and "Infinity" not in text
    method.answer = answer
    assert cli.main(["evaluate", str(bag), "--out", str(out), "--resume"]) == 0
    assert json.loads((out / "summary.json").read_text())["giou"] == pytest.approx(1.0, abs=1e-5)

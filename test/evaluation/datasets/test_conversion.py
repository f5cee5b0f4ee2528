import errno
import os
import tempfile
import zlib
from functools import partial

import cv2
import numpy as np
import pytest

from reasonseg_ros import cli
from reasonseg_ros.bags import BagReader
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets import conversion
from reasonseg_ros.evaluation.datasets.conversion import Plan, parts_folder, write_dataset
from reasonseg_ros.evaluation.datasets.pictures import encoded_picture
from reasonseg_ros.evaluation.datasets.records import Item, LabelledQuestion, gather

PLAN = Plan("made by hand", "val")


class Source:
    """A data set that counts what is read of it, and can be interrupted."""

    def __init__(self, data, count):
        self.data = data
        self.read = []
        self.stop_at = None
        self.items = [Item(f"s{n}", (partial(self.load, n),)) for n in range(count)]

    def load(self, number):
        if number == self.stop_at:
            raise KeyboardInterrupt
        self.read.append(number)
        if number % 10 == 3:
            raise InvalidInput("its image is missing; put it there")
        image = encoded_picture(self.data, "it")
        mask = np.zeros(image.size_wh[::-1], bool)
        mask[: number % 20 + 1] = True
        return gather(image, [(f"q{number}", lambda: LabelledQuestion(f"q{number}", f"text {number}", mask))])


@pytest.fixture
def source(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(conversion, "PICTURES_PER_PART", 4)
    return Source(photo(tmp_path / "photo.jpg"), 30)


def content(path):
    with BagReader(path) as reader:
        return list(reader.raw())


def test_an_interrupted_conversion_goes_on_and_ends_the_same(source, tmp_path):
    expected = write_dataset(source.items, PLAN, tmp_path / "whole")
    assert not parts_folder(tmp_path / "whole").exists()

    for stop_at in (9, 22):
        source.stop_at = stop_at
        with pytest.raises(KeyboardInterrupt):
            write_dataset(source.items, PLAN, tmp_path / "resumed")
        assert not (tmp_path / "resumed").exists()
    source.stop_at, source.read = None, []
    counts = write_dataset(source.items, PLAN, tmp_path / "resumed")
    assert source.read == list(range(20, 30))
    assert counts == expected
    assert content(tmp_path / "resumed") == content(tmp_path / "whole")


def test_counts_add_up(source, tmp_path):
    reported = []
    counts = write_dataset(source.items, PLAN, tmp_path / "bag", progress=reported.append)
    assert counts.pictures_read == 30 == counts.pictures_written + counts.pictures_left_out
    assert counts.pictures_left_out == 3 == len(counts.problems)
    assert counts.questions_read == counts.questions_written == 27
    assert reported[-1] == 30 and reported == sorted(reported)
    topics = [topic for topic, _, _ in content(tmp_path / "bag")]
    assert {topic: topics.count(topic) for topic in topics} == dict.fromkeys(
        ("/camera/image/compressed", "/reasonseg/query", "/reasonseg/ground_truth"), 27
    )


def test_an_unfinished_conversion_of_other_data_is_not_continued(source, tmp_path):
    source.stop_at = 12
    with pytest.raises(KeyboardInterrupt):
        write_dataset(source.items, PLAN, tmp_path / "bag")
    source.stop_at = None
    with pytest.raises(InvalidInput, match="--restart"):
        write_dataset(source.items[:20], PLAN, tmp_path / "bag")
    with pytest.raises(InvalidInput, match="--restart"):
        write_dataset(source.items, Plan("other options", "val"), tmp_path / "bag")
    source.read = []
    assert write_dataset(source.items[:20], PLAN, tmp_path / "bag", restart=True).pictures_read == 20
    assert source.read == list(range(20))


def test_parts_are_not_written_through_a_planted_link(source, tmp_path):
    (tmp_path / "victim").mkdir()
    parts_folder(tmp_path / "bag").symlink_to(tmp_path / "victim")
    for restart in (False, True):
        with pytest.raises(InvalidInput, match="symbolic link; remove it"):
            write_dataset(source.items, PLAN, tmp_path / "bag", restart=restart)
    assert list((tmp_path / "victim").iterdir()) == []


def test_a_bag_that_is_there_is_kept_before_anything_is_read(source, tmp_path):
    write_dataset(source.items[:5], PLAN, tmp_path / "bag")
    source.read = []
    with pytest.raises(InvalidInput, match="--force"):
        write_dataset(source.items[:5], PLAN, tmp_path / "bag")
    assert source.read == []
    assert write_dataset(source.items[:9], PLAN, tmp_path / "bag", force=True).pictures_written == 8


def test_questions_come_between_their_picture_and_the_next(source, tmp_path):
    write_dataset(source.items, PLAN, tmp_path / "bag")
    order = [topic for topic, _, _ in content(tmp_path / "bag")]
    assert order == ["/camera/image/compressed", "/reasonseg/query", "/reasonseg/ground_truth"] * 27


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--limit", "0"], "--limit: '0'; expected a whole number, 1 or more"),
        (["--split", "nowhere"], "no folder"),
        (["--limit", "-3"], "expected a whole number, 1 or more"),
    ],
)
def test_wrong_use_is_reported(tmp_path, options, reason, capsys):
    (tmp_path / "set/val").mkdir(parents=True)
    (tmp_path / "set/val/a.json").write_text("{}")
    arguments = ["bag", "from-reasonseg", str(tmp_path / "set"), "--out", str(tmp_path / "bag"), *options]
    try:
        status = cli.main(arguments)
    except SystemExit as ended:  # argparse refuses the value
        status = ended.code
    assert (status, reason in capsys.readouterr().err) == (2, True)
    assert not (tmp_path / "bag").exists()


def test_an_id_that_occurs_again_gets_a_number_also_after_an_interruption(tmp_path, photo, monkeypatch):
    """The same question about two pictures would otherwise be one question about a video."""
    monkeypatch.setattr(conversion, "PICTURES_PER_PART", 1)
    data, stop = photo(tmp_path / "photo.jpg"), []

    def load(number):
        if number in stop:
            raise KeyboardInterrupt
        image = encoded_picture(data, "it")
        mask = np.ones(image.size_wh[::-1], bool)
        return gather(image, [("q", lambda: LabelledQuestion("q", "the mug", mask)), (f"r{number}", _refused)])

    def _refused():
        raise ValueError("any shape of annotation")

    items = [Item(f"s{number}", (partial(load, number),)) for number in range(3)]
    stop.append(2)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(items, PLAN, tmp_path / "bag")
    stop.clear()
    counts = write_dataset(items, PLAN, tmp_path / "bag")
    assert counts.questions_read == 6 and counts.questions_left_out == 3
    assert counts.problems == [f"s{n}: r{n}: ValueError: any shape of annotation" for n in range(3)]
    with BagReader(tmp_path / "bag") as reader:
        ids = [message.query_id for topic, _, message in reader.messages() if topic.endswith("query")]
    assert ids == ["q", "q#2", "q#3"]


@pytest.mark.parametrize("port", ["replace", "mkdtemp", "mkstemp"])
def test_a_full_disk_in_a_conversion_is_one_line_and_the_same_command_goes_on(
    port, folder_of_pictures, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(conversion, "PICTURES_PER_PART", 2)
    arguments = ["bag", "from-reasonseg", str(folder_of_pictures), "--out"]
    assert cli.main([*arguments, str(tmp_path / "whole")]) == 0
    owner = {"replace": os, "mkdtemp": tempfile, "mkstemp": tempfile}[port]
    real = getattr(owner, port)
    for fails_at in (1, 2, 3, 7):
        seen = []

        def broken(*given, seen=seen, fails_at=fails_at, **named):
            seen.append(given)
            if len(seen) == fails_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*given, **named)

        out = tmp_path / f"out{fails_at}"
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(owner, port, broken)
            status = cli.main([*arguments, str(out)])
        if len(seen) < fails_at:
            assert status == 0 and fails_at > 3
            break
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("reasonseg: ")]
        assert status == cli.USAGE_ERROR and len(lines) == 1 and "No space left on device" in lines[0]
        assert not out.exists()
        assert cli.main([*arguments, str(out)]) == 0
        assert content(out) == content(tmp_path / "whole")
        assert not parts_folder(out).exists() and not list(tmp_path.glob(f".{out.name}*"))


@pytest.fixture
def folder_of_pictures(tmp_path, photo, write_json):
    base = tmp_path / "ReasonSeg" / "val"
    for number in range(5):
        photo(base / f"{number}.jpg")
        shapes = [{"label": "target", "points": [[1, 1], [9, 1], [9, 9 + number]]}]
        write_json(base / f"{number}.json", {"text": [f"text {number}"], "is_sentence": False, "shapes": shapes})
    return base.parent


def test_a_damaged_report_of_a_part_has_it_made_again(source, tmp_path):
    expected = write_dataset(source.items, PLAN, tmp_path / "whole")
    source.stop_at = 9
    with pytest.raises(KeyboardInterrupt):
        write_dataset(source.items, PLAN, tmp_path / "bag")
    source.stop_at = None
    reports = sorted(parts_folder(tmp_path / "bag").glob("*.json"))
    assert len(reports) == 2
    reports[0].write_text("[" * 100_000)
    reports[1].write_text('{"surprise": 1}')
    assert write_dataset(source.items, PLAN, tmp_path / "bag") == expected
    assert content(tmp_path / "bag") == content(tmp_path / "whole")


def test_a_picture_of_sixteen_bits_is_scaled_and_not_cut():
    pixels = np.arange(0, 65536, 65536 // (40 * 30), dtype=np.uint16)[: 40 * 30].reshape(30, 40)
    image = encoded_picture(cv2.imencode(".png", pixels)[1].tobytes(), "it")
    read = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read[..., 0], np.round(pixels.astype(float) * 255 / 65535).astype(np.uint8))


def test_a_picture_that_unpacks_to_a_huge_image_is_refused():
    data = bytearray(cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes())
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with pytest.raises(InvalidInput, match=r"it cannot be used: .*(exceeds limit|too large)"):
        encoded_picture(bytes(data), "it")


def test_padding_after_a_jpeg_keeps_it_byte_by_byte(photo, tmp_path):
    data = photo(tmp_path / "photo.jpg") + bytes(500)
    assert encoded_picture(data, "it").data == data

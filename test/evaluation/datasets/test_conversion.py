from functools import partial

import numpy as np
import pytest

from reasonseg_ros import cli
from reasonseg_ros.bags import BagReader
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets import conversion
from reasonseg_ros.evaluation.datasets.conversion import Plan, parts_folder, write_dataset
from reasonseg_ros.evaluation.datasets.pictures import encoded_picture
from reasonseg_ros.evaluation.datasets.records import Item, Question, gather

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
        return gather(image, [(f"q{number}", lambda: Question(f"q{number}", f"text {number}", mask))])


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
    told = []
    counts = write_dataset(source.items, PLAN, tmp_path / "bag", progress=told.append)
    assert counts.pictures_read == 30 == counts.pictures_written + counts.pictures_left_out
    assert counts.pictures_left_out == 3 == len(counts.problems)
    assert counts.questions_read == counts.questions_written == 27
    assert told[-1] == 30 and told == sorted(told)
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
        (["--limit", "0"], "--limit 0"),
        (["--split", "nowhere"], "no folder"),
        (["--limit", "-3"], "expected 1 at least"),
    ],
)
def test_wrong_use_is_told(tmp_path, options, reason, capsys):
    (tmp_path / "set/val").mkdir(parents=True)
    (tmp_path / "set/val/a.json").write_text("{}")
    assert cli.main(["bag", "from-reasonseg", str(tmp_path / "set"), "--out", str(tmp_path / "bag"), *options]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "bag").exists()

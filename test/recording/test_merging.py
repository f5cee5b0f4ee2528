import json

import cv2
import numpy as np
import pytest

from reasonseg_ros import bags, cli
from reasonseg_ros.bags.topics import BLACK_BOX_TOPIC, UNSCORED_QUERY_TOPIC
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.recording.reading import read_black_boxes
from reasonseg_ros.types import Query
from test.recording.boxes import HEIGHT, WIDTH, black_box, noisy_frame, prompted_box, scripted_method, write_box


def true_mask():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[8:24, 8:24] = True
    return mask


@pytest.fixture
def truth_bag(tmp_path):
    """Two images, each with a question; the second question is about both."""
    path = tmp_path / "truths"
    with bags.BagWriter(path) as bag:
        for number in range(3):
            frame = noisy_frame(10 + number, 10**18 + number * 10**9)
            bag.write("/camera/image", bags.image_message(frame.rgb, frame.stamp_ns, "camera"), frame.stamp_ns)
            for query_id in [("one",), ("clip",), ("clip",)][number]:
                query = Query(f"question {query_id}?", query_id)
                bag.write("/reasonseg/query", bags.query_message(query), frame.stamp_ns + 1)
                truth = bags.ground_truth_message(query, true_mask(), frame.stamp_ns, "camera", kind="function")
                bag.write("/reasonseg/ground_truth", truth, frame.stamp_ns + 2)
    return path


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", lambda config, **_: scripted_method())


def merge(tmp_path, *inputs, options=()):
    return cli.main(["bag", "merge", str(tmp_path / "set"), *map(str, inputs), *options])


def test_a_merged_bag_is_evaluated_and_replayed(tmp_path, truth_bag, box_file, scripted, capsys):
    assert merge(tmp_path, truth_bag, box_file) == 0
    output = capsys.readouterr().out
    assert "images: 4; questions with ground truth: 3; without ground truth, answered but not scored: 1" in output
    assert "black boxes: 1" in output and "blackbox.mcap is moved by" in output
    assert cli.main(["evaluate", str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    counted = {name: summary[name] for name in ("samples", "scored", "without_truth", "failed")}
    assert counted == {"samples": 4, "scored": 3, "without_truth": 1, "failed": 0}
    assert summary["giou"] == pytest.approx(1.0)
    results = json.loads((tmp_path / "out" / "results.json").read_text())["samples"]
    ids = [sample["sample_id"] for sample in results]
    assert ids == ["truths/one", "truths/clip", "truths/clip#2", "blackbox.mcap/q1"]
    assert [sample["expression"] for sample in results][1:3] == ["truths/clip", "truths/clip"]
    assert cli.main(["replay", str(tmp_path / "set")]) == 0
    assert "q1 'where is it?': identical" in capsys.readouterr().out


def test_images_keep_their_pixels_and_truths_their_masks(tmp_path, truth_bag, box_file):
    before = {clip.samples[0].sample_id: clip for clip in read_clips(truth_bag)}
    assert merge(tmp_path, box_file, truth_bag) == 0
    after = {clip.samples[0].sample_id.removeprefix("truths/"): clip for clip in read_clips(tmp_path / "set")}
    assert set(before) < set(after)
    shifts = set()
    for sample_id, clip in before.items():
        (sample,), (merged,) = clip.samples, after[sample_id].samples
        np.testing.assert_array_equal(merged.load_frame().rgb, sample.load_frame().rgb)
        np.testing.assert_array_equal(merged.truth.mask, sample.truth.mask)
        assert (after[sample_id].question, merged.kind) == (clip.question, sample.kind)
        shifts.add(merged.stamp_ns - sample.stamp_ns)
    assert len(shifts) == 1  # distances in time stay


@pytest.mark.parametrize(("asked_s", "is_kept"), [(9.9, True), (11.5, False)])
def test_a_question_long_after_the_last_image_is_not_merged(tmp_path, capsys, asked_s, is_kept):
    """In the merged bag it would be about this image, which the node would not use."""
    frame = noisy_frame(1, 10**18)
    with bags.BagWriter(tmp_path / "gap") as bag:
        bag.write("/camera/image", bags.image_message(frame.rgb, frame.stamp_ns, "camera"), frame.stamp_ns)
        asked_ns = frame.stamp_ns + round(asked_s * 1e9)
        bag.write("/reasonseg/query", bags.query_message(Query("where is it?", "q")), asked_ns)
    assert merge(tmp_path, tmp_path / "gap") == (0 if is_kept else 2)
    assert is_kept or "'where is it?' comes 11.5 s after the last image" in capsys.readouterr().err


def test_a_mask_makes_a_black_box_a_scored_question(tmp_path, box_file, scripted):
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "blackbox.png"), true_mask().astype(np.uint8) * 255)
    assert merge(tmp_path, box_file, options=["--truth", str(tmp_path / "masks")]) == 0
    ((sample,),) = (clip.samples for clip in read_clips(tmp_path / "set"))
    np.testing.assert_array_equal(sample.truth.mask, true_mask())
    assert cli.main(["evaluate", str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["giou"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "size_wh", "reason"),
    [
        ("other.png", (WIDTH, HEIGHT), "masks for other: no bag has this name"),
        ("blackbox.png", (9, 9), "(9, 9) pixels"),
    ],
)
def test_a_mask_that_fits_no_black_box_is_refused(tmp_path, box_file, capsys, name, size_wh, reason):
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / name), np.zeros(size_wh[::-1], np.uint8))
    assert merge(tmp_path, box_file, options=["--truth", str(tmp_path / "masks")]) == cli.USAGE_ERROR
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_what_cannot_be_merged_is_listed_and_the_rest_is_merged(tmp_path, box_file, truth_bag, capsys):
    (tmp_path / "text.mcap").write_text("hello")
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(box_file.read_bytes()[:-200])
    assert merge(tmp_path, tmp_path / "text.mcap", cut, truth_bag) == 1
    errors = capsys.readouterr().err
    assert "left out: " in errors and "text.mcap is no MCAP file" in errors and "cut.mcap" in errors
    assert sum(sample.truth is not None for clip in read_clips(tmp_path / "set") for sample in clip.samples) == 3


def test_black_boxes_of_prompts_are_merged_for_replay(tmp_path, scripted, box_file):
    prompts = write_box(tmp_path / "prompts.mcap", prompted_box())
    assert merge(tmp_path, prompts, box_file) == 0
    with bags.BagReader(tmp_path / "set") as reader:
        assert reader.counts[BLACK_BOX_TOPIC] == 2 and reader.counts[UNSCORED_QUERY_TOPIC] == 1
    assert len(list(read_black_boxes(tmp_path / "set"))) == 2
    assert cli.main(["replay", str(tmp_path / "set")]) == 0


def test_merged_bags_are_merged_again(tmp_path, box_file, truth_bag):
    assert merge(tmp_path, box_file, truth_bag) == 0
    other = write_box(tmp_path / "other.mcap", black_box("q2", noisy_frame(7)))
    assert cli.main(["bag", "merge", str(tmp_path / "more"), str(tmp_path / "set"), str(other)]) == 0
    ids = [sample.sample_id for clip in read_clips(tmp_path / "more") for sample in clip.samples]
    assert ids == [
        "set/blackbox.mcap/q1", "set/truths/one", "set/truths/clip", "set/truths/clip#2", "other.mcap/q2",
    ]  # fmt: skip
    assert [box.query.query_id for box in read_black_boxes(tmp_path / "more")] == ["q1", "q2"]


def test_a_bag_that_is_there_is_not_replaced(tmp_path, box_file, capsys):
    (tmp_path / "set").mkdir()
    assert merge(tmp_path, box_file) == cli.USAGE_ERROR
    assert "it exists; choose another place or pass --force" in capsys.readouterr().err


def bag_of_one_stamp(path, *numbers):
    """A question about the last of several images that all have one stamp; equal numbers are equal images."""
    with bags.BagWriter(path) as bag:
        for later_ns, number in enumerate(numbers):
            frame = noisy_frame(number, 10**18)
            bag.write("/camera/image", bags.image_message(frame.rgb, 10**18, "camera"), 10**18 + later_ns)
        bag.write("/reasonseg/query", bags.query_message(Query("the cup?", "one")), 10**18 + 10)
    return path


def test_a_question_about_one_of_several_images_of_a_stamp_is_not_merged(tmp_path, truth_bag, capsys):
    assert merge(tmp_path, truth_bag, bag_of_one_stamp(tmp_path / "unclear", 1, 2)) == 1
    assert "stamp 1000000000000000000 ns, which several images have" in capsys.readouterr().err
    assert not any(clip.expression.startswith("unclear") for clip in read_clips(tmp_path / "set"))


def test_an_image_that_was_recorded_twice_is_merged_once(tmp_path, capsys):
    assert merge(tmp_path, bag_of_one_stamp(tmp_path / "twice", 1, 1)) == 0
    assert "images: 1;" in capsys.readouterr().out

"""Reads samples from bags: every question with its own image, or the reason why it cannot be evaluated."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from reasonseg_ros import bags
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.reading.questions import TimedQuestion, read_questions
from reasonseg_ros.types import Query

START_NS = 1_700_000_000 * 10**9
BOX = (8, 8, 24, 24)


def split(clips):
    """The samples, and what cannot be read. Every clip is one or the other."""
    found = list(clips)
    assert all(len(clip.frames) + len(clip.unreadable) == 1 for clip in found)
    return [sample for clip in found for sample in clip.samples], [lost for clip in found for lost in clip.unreadable]


def test_each_question_has_its_own_image_and_truth(make_bag, samples_of):
    bag = make_bag([samples_of("a"), samples_of("b", None, "none"), samples_of("c", (2, 3, 9, 7), image=1)])
    clips = list(read_clips(bag))
    samples, lost = split(clips)
    assert lost == []
    assert [clip.question for clip in clips] == ["question a?", "question b?", "question c?"]
    assert [(s.sample_id, s.kind, s.split) for s in samples] == [
        ("a", "function", "test"),
        ("b", "none", "test"),
        ("c", "function", "test"),
    ]
    assert [s.stamp_ns - START_NS for s in samples] == [0, 0, 10**9]
    assert not np.array_equal(samples[0].load_frame().rgb, samples[2].load_frame().rgb)
    assert samples[0].truth.mask.sum() == 16 * 16 and samples[1].truth.mask.sum() == 0
    assert samples[2].truth.boxes_xyxy.tolist() == [[2, 3, 9, 7]]
    assert samples[0].truth.thought == "because" and not samples[0].truth.ignore.any()


def test_ground_truth_may_come_before_its_image(make_bag, samples_of):
    bag = make_bag([samples_of("a"), samples_of("b", image=1)], change=lambda messages: messages[::-1])
    samples, lost = split(read_clips(bag))
    assert {s.sample_id for s in samples} == {"a", "b"} and lost == []


def test_kinds_are_chosen(make_bag, samples_of):
    bag = make_bag([samples_of("a"), samples_of("b", None, "none")])
    samples, lost = split(read_clips(bag, kinds=["none"]))
    assert [s.sample_id for s in samples] == ["b"] and lost == []


def test_ids_are_made_different(make_bag, samples_of):
    samples, _ = split(read_clips(make_bag([samples_of("a"), samples_of("a"), samples_of("")])))
    assert [s.sample_id for s in samples] == ["a", "a#2", str(START_NS)]


def test_a_lost_image_loses_its_questions_only(make_bag, samples_of):
    bag = make_bag([samples_of("a"), samples_of("b", image=1)], change=lambda messages: messages[1:])
    samples, lost = split(read_clips(bag))
    assert [s.sample_id for s in samples] == ["b"]
    assert [(u.sample_id, u.samples) for u in lost] == [("a", 1)]
    assert "no image of stamp" in lost[0].reason


def test_a_question_without_its_truth_is_listed(make_bag, samples_of):
    bag = make_bag([samples_of("a"), samples_of("b")], change=lambda messages: messages[:-1])
    samples, lost = split(read_clips(bag))
    assert [s.sample_id for s in samples] == ["a"]
    assert [(u.sample_id, u.samples) for u in lost] == [("b", 1)] and "no ground truth" in lost[0].reason


def test_queries_without_any_truth_are_asked_about_the_newest_image(make_bag, samples_of):
    bag = make_bag([samples_of("a"), samples_of("b", image=1)], with_truth=False)
    samples, lost = split(read_clips(bag))
    assert lost == [] and [s.truth for s in samples] == [None, None]
    assert [s.stamp_ns - START_NS for s in samples] == [0, 10**9]


def test_a_file_of_questions_is_sorted(tmp_path):
    path = tmp_path / "questions.yaml"
    path.write_text("- time_s: 3\n  text: the cup?\n- time_s: 1.5\n  text: the pen?\n  id: pen\n")
    assert read_questions(path) == [TimedQuestion(1.5, "the pen?", "pen"), TimedQuestion(3.0, "the cup?")]


WRONG_QUESTIONS = ["", "text: no list", "- {time_s: -1, text: a}", "- {time_s: soon, text: a}", "- {text: a}", "[["]


@pytest.mark.parametrize("text", [*WRONG_QUESTIONS, "- {time_s: 1, text: ''}", "- {time_s: 1, text: a, when: 3}"])
def test_a_wrong_file_of_questions_is_explained(tmp_path, text):
    path = tmp_path / "questions.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"questions\.yaml"):
        read_questions(path)


def depth(messages):
    stamp_ns = messages[0][2]
    metres = np.ones((48, 64), np.float32)
    return [("/a_depth", bags.depth_message(metres, stamp_ns, "camera"), stamp_ns), *messages]


def second_camera(messages):
    return [("/other/image", messages[0][1], messages[0][2]), *messages]


def test_depth_is_no_camera(make_bag, samples_of):
    samples, _ = split(read_clips(make_bag([samples_of("a")], change=depth)))
    assert samples[0].load_frame().rgb.shape == (48, 64, 3)


def test_one_of_several_cameras_is_chosen(make_bag, samples_of):
    bag = make_bag([samples_of("a")], change=second_camera)
    with pytest.raises(InvalidInput, match=r"--image-topic: /camera/image, /other/image"):
        list(read_clips(bag))
    assert len(split(read_clips(bag, "/other/image"))[0]) == 1
    with pytest.raises(InvalidInput, match="has no topic /nowhere"):
        list(read_clips(bag, "/nowhere"))
    with pytest.raises(InvalidInput, match=r"/reasonseg/query is a reasonseg_ros/msg/Query; expected an image"):
        list(read_clips(bag, "/reasonseg/query"))


def test_what_is_missing_is_named(make_bag, samples_of, tmp_path):
    with pytest.raises(InvalidInput, match="there is no bag"):
        list(read_clips(tmp_path / "nothing"))
    silent = make_bag([samples_of("a")], with_truth=False, with_queries=False, name="silent")
    with pytest.raises(InvalidInput, match=r"neither ground truth nor questions; .*--questions"):
        list(read_clips(silent))
    blind = make_bag([samples_of("a")], change=lambda messages: messages[1:], name="blind")
    with pytest.raises(InvalidInput, match="no colour image topic"):
        list(read_clips(blind))


COUNT = 400
ZSTD = b"\x28\xb5\x2f\xfd"


def many(samples_of, count=COUNT):
    """Enough images for several chunks of a file, which hold about a hundred each."""
    return [samples_of(f"q{number}", BOX, image=number) for number in range(count)]


def test_a_truncated_bag_gives_what_is_left(make_bag, samples_of):
    bag = make_bag(many(samples_of))
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    samples, lost = split(read_clips(bag))
    assert 20 < len(samples) < COUNT
    assert len(samples) + sum(u.samples for u in lost) == COUNT
    assert any("breaks off" in u.reason for u in lost)


def test_a_damaged_chunk_costs_only_itself(make_bag, samples_of):
    bag = make_bag(many(samples_of))
    file = next(bag.glob("*.mcap"))
    data = bytearray(file.read_bytes())
    chunk = data.index(ZSTD, data.index(ZSTD) + 4)  # the second one
    data[chunk : chunk + 4] = bytes(4)
    file.write_bytes(data)
    samples, lost = split(read_clips(bag))
    ids = [s.sample_id for s in samples]
    assert ids[0] == "q0" and ids[-1] == f"q{COUNT - 1}" and 20 < len(ids) < COUNT
    assert len(samples) + sum(u.samples for u in lost) == COUNT
    assert any("damaged at byte" in u.reason for u in lost)


def test_a_file_of_rubbish_is_refused(tmp_path):
    path = tmp_path / "rubbish.mcap"
    path.write_bytes(b"no bag" * 100)
    with pytest.raises(InvalidInput, match=r"rubbish\.mcap"):
        list(read_clips(path))


def test_a_damaged_image_is_reported_when_it_is_loaded(make_bag, samples_of):
    def cut(messages):
        topic, image, stamp_ns = messages[0]
        return [(topic, replace(image, data=image.data[:100]), stamp_ns), *messages[1:]]

    samples, _ = split(read_clips(make_bag([samples_of("a")], change=cut)))
    with pytest.raises(InvalidInput, match="truncated image"):
        samples[0].load_frame()


def foreign(text, suffix, pixels, lead=b""):
    """CompressedImage of another writer, at the bag's first stamp."""
    data = lead + cv2.imencode(suffix, pixels)[1].tobytes()
    return bags.compressed_image_message(data, text, START_NS, "camera")


def test_compressed_depth_is_no_camera(make_bag, samples_of):
    metres, deep = np.ones((48, 64), np.float32), np.full((48, 64), 900, np.uint16)
    depths = {
        "/depth/compressed": foreign("16UC1; png compressed ", ".png", deep),
        "/depth/compressedDepth": foreign("16UC1; compressedDepth png", ".png", deep, bytes(12)),
        "/depth/tiff": foreign("32FC1; tiff compressed ", ".tiff", metres),
    }

    def add(messages):
        return [*((topic, depth, messages[0][2]) for topic, depth in depths.items()), *messages]

    samples, lost = split(read_clips(make_bag([samples_of("a")], change=add)))
    assert [s.sample_id for s in samples] == ["a"] and lost == []


@pytest.mark.parametrize("text", ["bayer_rggb8; png compressed ", "bayer_rggb8; jpeg compressed "])
def test_a_compressed_mosaic_is_read_in_colour(make_bag, samples_of, text):
    pixels = np.zeros((48, 64), np.uint8)
    pixels[0::2, 0::2], pixels[0::2, 1::2], pixels[1::2, 0::2] = 220, 60, 60

    def recode(messages):
        suffix = ".png" if "png" in text else ".jpg"
        return [(messages[0][0], foreign(text, suffix, pixels), messages[0][2]), *messages[1:]]

    samples, _ = split(read_clips(make_bag([samples_of("a")], change=recode)))
    np.testing.assert_allclose(samples[0].load_frame().rgb[10, 10].astype(int), (220, 60, 0), atol=4)


def test_masks_of_another_size_than_a_compressed_image_are_listed(make_bag, samples_of):
    def shrink(messages):
        return [(messages[0][0], foreign("jpeg", ".jpg", np.zeros((24, 32), np.uint8)), messages[0][2]), *messages[1:]]

    samples, lost = split(read_clips(make_bag([samples_of("a")], change=shrink)))
    assert samples == [] and "mask of 64 x 48" in lost[0].reason and "image of 32 x 24" in lost[0].reason


def test_a_mask_that_unpacks_to_a_huge_image_is_one_lost_sample(make_bag, samples_of):
    def grow(messages):
        image, query, (topic, truth, stamp_ns) = messages[:3]
        truth = replace(truth, mask=replace(truth.mask, height=30_000, width=30_000))
        return [image, query, (topic, truth, stamp_ns), *messages[3:]]

    samples, lost = split(read_clips(make_bag([samples_of("a"), samples_of("b", image=1)], change=grow)))
    assert [s.sample_id for s in samples] == ["b"]
    assert "30000 x 30000 pixels; at most 100 megapixels" in lost[0].reason


def test_a_file_that_unpacks_to_a_huge_image_is_refused_before_that(make_bag, samples_of):
    def grow(messages):
        data = bytearray(foreign("png", ".png", np.zeros((8, 8), np.uint8)).data.tobytes())
        data[16:24] = (30_000).to_bytes(4, "big") * 2
        image = bags.compressed_image_message(bytes(data), "png", START_NS, "camera")
        return [(messages[0][0], image, messages[0][2]), *messages[1:]]

    samples, _ = split(read_clips(make_bag([samples_of("a")], change=grow)))
    with pytest.raises(InvalidInput, match="too large: 30000 x 30000 pixels; at most 100 megapixels"):
        samples[0].load_frame()


def gap_bag(path, query_s):
    """Images at 0 and 60 s, and a question without ground truth at `query_s`, None for none."""
    with bags.BagWriter(path) as bag:
        for at_s in sorted({0.0, 60.0} | ({query_s} - {None})):
            stamp_ns = START_NS + round(at_s * 1e9)
            if at_s == query_s:
                bag.write("/reasonseg/query", bags.query_message(Query("the mug?", "q")), stamp_ns)
            else:
                bag.write("/image", bags.image_message(np.full((8, 8, 3), 90, np.uint8), stamp_ns, "camera"), stamp_ns)
    return path


@pytest.mark.parametrize("is_timed", [False, True])
@pytest.mark.parametrize(("query_s", "max_age_s", "is_asked"), [(9.9, 10, True), (11.5, 10, False), (11.5, 0, True)])
def test_a_question_in_a_gap_is_about_no_old_image(tmp_path, query_s, max_age_s, is_asked, is_timed):
    """The node would end it as no_frame."""
    bag = gap_bag(tmp_path / "bag", None if is_timed else query_s)
    questions = [TimedQuestion(query_s, "the mug?", "q")] if is_timed else []
    samples, lost = split(read_clips(bag, questions=questions, max_age_s=max_age_s))
    assert [sample.stamp_ns for sample in samples] == [START_NS] * is_asked
    assert [(one.sample_id, one.samples) for one in lost] == [("q", 1)] * (not is_asked)
    assert is_asked or "the nearest image before the question is 11.5 s away" in lost[0].reason


@pytest.mark.parametrize(("query_s", "is_asked"), [(-9.9, True), (-11.5, False)])
def test_a_question_long_before_the_first_image_is_listed(tmp_path, query_s, is_asked):
    samples, lost = split(read_clips(gap_bag(tmp_path / "bag", query_s)))
    assert (len(samples), len(lost)) == (is_asked, not is_asked)
    assert is_asked or "the nearest image after the question is 11.5 s away" in lost[0].reason

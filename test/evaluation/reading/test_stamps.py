"""Which image a question is about: by its stamp, or the newest one."""

from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros import bags
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.reading.questions import TimedQuestion

START_NS = 1_700_000_000 * 10**9


def split(clips):
    """The samples, and what cannot be read. Every clip is one or the other."""
    found = list(clips)
    assert all(len(clip.frames) + len(clip.unreadable) == 1 for clip in found)
    return [sample for clip in found for sample in clip.samples], [lost for clip in found for lost in clip.unreadable]


def test_timed_questions_take_the_image_before_them(make_bag, samples_of):
    bag = make_bag([samples_of("x", image=3)], with_truth=False, with_queries=False)
    times = (0, 0.5, 1, 1.5, 3.9, 99)
    samples, lost = split(read_clips(bag, questions=[TimedQuestion(t, f"at {t}?", str(t)) for t in times]))
    assert [(s.sample_id, (s.stamp_ns - START_NS) / 1e9) for s in samples] == [
        ("0", 0), ("0.5", 0), ("1", 1), ("1.5", 1), ("3.9", 3)
    ]  # fmt: skip
    assert [u.sample_id for u in lost] == ["99"] and "after the last image" in lost[0].reason


def test_a_time_before_the_bag_is_no_question_about_its_first_image(make_bag, samples_of):
    bag = make_bag([samples_of("x", image=3)], with_truth=False, with_queries=False)
    times = {"before": START_NS / 1e9 - 3600, "shortly": START_NS / 1e9 - 0.5, "in": START_NS / 1e9 + 2.5}
    samples, lost = split(read_clips(bag, questions=[TimedQuestion(t, "it?", name) for name, t in times.items()]))
    assert [(s.sample_id, (s.stamp_ns - START_NS) / 1e9) for s in samples] == [("shortly", 0), ("in", 2)]
    assert [u.sample_id for u in lost] == ["before"] and "before the first image" in lost[0].reason


def test_the_newest_image_is_the_last_one_also_when_stamps_repeat(make_bag, samples_of):
    """A camera whose stamps begin again: the fourth image has the stamp of the first one."""

    def again(messages):
        first, query = messages[0], next(m for m in messages if m[0] == "/reasonseg/query")
        images = [m for m in messages if m[0] == first[0]]
        stamp = first[1].header.stamp
        images[3] = first[0], replace(images[3][1], header=replace(images[3][1].header, stamp=stamp)), images[3][2]
        return [*images, (query[0], query[1], images[3][2] + 1)]

    notes = []
    bag = make_bag([samples_of("a", image=3)], with_truth=False, change=again)
    (sample,), lost = split(read_clips(bag, on_note=notes.append))
    newest = [message for _, _, message in bags.BagReader(bag).__enter__().messages(["/camera/image"])][-1]
    assert sample.stamp_ns == START_NS and not lost
    np.testing.assert_array_equal(sample.load_frame().rgb.ravel(), newest.data)
    assert len(notes) == 1 and "1 images repeat the stamp of an earlier one with other pixels" in notes[0]


def test_an_image_that_was_recorded_twice_is_no_matter(make_bag, samples_of):
    notes = []
    bag = make_bag([samples_of("a")], change=lambda messages: [messages[0], *messages])
    (sample,), lost = split(read_clips(bag, on_note=notes.append))
    assert (sample.sample_id, lost, notes) == ("a", [], [])


@pytest.mark.parametrize(("largest", "is_noted"), [(4095, True), (65535, False)])
def test_images_of_12_bits_that_are_not_shifted_are_noted(make_bag, samples_of, largest, is_noted):
    grey = np.linspace(0, largest, 48 * 64).astype("<u2").reshape(48, 64)

    def deep(messages):
        topic, image, stamp_ns = messages[0]
        data = np.frombuffer(grey.tobytes(), np.uint8)
        return [(topic, replace(image, encoding="mono16", step=128, data=data), stamp_ns), *messages[1:]]

    notes = []
    for clip in read_clips(make_bag([samples_of("a")], change=deep), on_note=notes.append):
        clip.frames[0].load_frame()
    assert [note.partition(": ")[2].startswith("1 images of 16 bits are nearly black") for note in notes] == (
        [True] if is_noted else []
    )


def test_times_may_be_of_the_bags_clock():
    assert TimedQuestion(1.7e9, "now?").stamp_ns(5) == START_NS
    assert TimedQuestion(2.0, "then?").stamp_ns(5) == 2 * 10**9 + 5

"""One question about several frames: which samples belong together, and a method that answers for all at once."""

import threading
import time
import weakref
from dataclasses import replace

import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.pipeline import Pace
from reasonseg_ros.evaluation.reading.clips import Clip, Sample
from reasonseg_ros.evaluation.reading.videos import GAP_IMAGES, with_videos
from reasonseg_ros.evaluation.run import Scoring, evaluate, finish

BOX, OTHER = (8, 8, 24, 24), (40, 30, 60, 44)
GENEROUS_S = 30


def videos(bag):
    return with_videos(read_clips(bag, with_images=True))


def reported(clips):
    """Ids: a list of each video, a text of each still."""
    return [[s.sample_id for s in c.samples] if c.is_video else c.samples[0].sample_id for c in clips]


@pytest.fixture
def video_bag(make_bag, samples_of):
    """Two expressions over one video, the second not labelled on its first frame, then a still."""
    asked = [samples_of("v/0"), samples_of("v/0", image=1), samples_of("v/0", image=2)]
    asked += [samples_of("v/1", OTHER, image=1), samples_of("v/1", None, image=2), samples_of("still", image=3)]
    return make_bag(asked)


def test_the_frames_of_an_expression_come_together(video_bag):
    assert reported(read_clips(video_bag)) == ["v/0", "v/0#2", "v/1", "v/0#3", "v/1#2", "still"]
    found = list(videos(video_bag))
    assert reported(found) == [["v/0", "v/0#2", "v/0#3"], ["v/1", "v/1#2"], "still"]
    assert (found[1].expression, found[1].question) == ("v/1", "question v/1?")
    assert [sample.stamp_ns % 10**10 // 10**9 for sample in found[0].samples] == [0, 1, 2]


def test_an_id_used_twice_on_one_image_or_for_two_questions_is_no_video(make_bag, samples_of):
    bag = make_bag([samples_of("a"), samples_of("a")])
    assert reported(videos(bag)) == ["a", "a#2"]

    def reword(messages):
        topic, truth, stamp_ns = messages[-1]
        return [*messages[:-1], (topic, replace(truth, question="something else"), stamp_ns)]

    reworded = make_bag([samples_of("a"), samples_of("a", image=1)], change=reword, name="reworded")
    assert reported(videos(reworded)) == ["a", "a#2"]


def test_a_frame_that_cannot_be_read_is_listed_and_the_others_stay_together(make_bag, samples_of):
    asked = [samples_of("v", image=number) for number in range(3)]
    bag = make_bag(asked, change=lambda messages: messages[1:])
    found = list(videos(bag))
    assert [len(clip.unreadable) for clip in found] == [0, 1]
    assert [sample.stamp_ns % 10**10 // 10**9 for sample in found[0].samples] == [1, 2]


class Watcher:
    """Answers for all frames what the scripted method answers for each."""

    def __init__(self, method):
        self.method, self.videos = method, []
        self.answer, self.prompt, self.segmenter = method.answer, method.prompt, method.segmenter

    def answer_video(self, frames, query, call):
        self.videos.append((query.query_id, query.text, len(frames)))
        return [self.method.answer(frame, query) for frame in frames]


def test_a_video_is_asked_about_once_and_every_frame_is_scored(video_bag, scripted, answer_text, tmp_path):
    texts = [answer_text(*boxes) for boxes in ([BOX], [OTHER], [BOX], [OTHER], [], [BOX])]
    watcher = Watcher(scripted(*texts))
    run = evaluate(videos(video_bag), watcher, tmp_path, Scoring())
    assert watcher.videos == [("v/0", "question v/0?", 3), ("v/1", "question v/1?", 2)]
    assert run.ids == ["v/0", "v/0#2", "v/0#3", "v/1", "v/1#2", "still"]
    assert [round(row.score.iou, 3) for row in run.rows] == [1, 0, 1, 1, 1, 1]

    again = evaluate(videos(video_bag), watcher, tmp_path, Scoring())
    assert again.ids == run.ids and len(watcher.videos) == 2, "nothing is asked again"


def test_an_interrupt_cancels_the_answer_to_a_video(video_bag, scripted, answer_text, tmp_path):
    begun, cancelled = threading.Event(), []

    class Waiting(Watcher):
        def answer_video(self, frames, query, call):
            if query.query_id == "v/1":
                begun.set()
                end_s = time.monotonic() + GENEROUS_S
                while not call.cancelled() and time.monotonic() < end_s:
                    time.sleep(0.005)
                cancelled.append(call.cancelled())
            return super().answer_video(frames, query, call)

    def interrupted(run):
        if len(run.rows) == 3:
            assert begun.wait(GENEROUS_S)
            raise KeyboardInterrupt

    method = Waiting(scripted(answer_text(BOX)))
    with pytest.raises(KeyboardInterrupt):
        evaluate(videos(video_bag), method, tmp_path, Scoring(), 0, interrupted, Pace(most_ahead=2))
    assert cancelled == [True]
    assert (tmp_path / "results.jsonl").read_bytes().count(b"\n") == 3


def test_images_between_labelled_frames_are_shown_and_not_scored(make_bag, samples_of, scripted, answer_text, tmp_path):
    """As if only every n-th frame has a mask. What follows the last labelled frame is no part of the video."""
    asked = [samples_of(name, image=image) for image, name in enumerate(("v", "other", "v", "x", "v", "x", "y"))]
    # The truth of the third frame comes after the fourth image.
    bag = make_bag(asked, change=lambda messages: [*messages[:8], messages[9], messages[8], *messages[10:]])
    found = list(videos(bag))
    assert reported(found) == ["other", ["v", "v#2", "v#3"], ["x", "x#2"], "y"]
    frames = [clip.frames for clip in found if clip.is_video]
    assert [[frame.stamp_ns % 10**10 // 10**9 for frame in of_one] for of_one in frames] == [[0, 1, 2, 3, 4], [3, 4, 5]]

    watcher = Watcher(scripted(*(answer_text(BOX) for _ in range(10))))
    run = evaluate(videos(bag), watcher, tmp_path, Scoring())
    assert watcher.videos == [("v", "question v?", 5), ("x", "question x?", 3)]
    assert sorted(run.ids) == ["other", "v", "v#2", "v#3", "x", "x#2", "y"]
    assert len(list((tmp_path / "images").iterdir())) == 7
    assert all(row.score.iou == pytest.approx(1) for row in run.rows)


def test_each_frame_is_scored_by_its_own_answer(make_bag, samples_of, scripted, answer_text, tmp_path):
    bag = make_bag([samples_of("v"), samples_of("w", OTHER, image=1), samples_of("v", image=2)])
    texts = [answer_text(box) for box in (OTHER, BOX, OTHER, BOX)]  # w, which is complete first, then v on three images
    run = evaluate(videos(bag), Watcher(scripted(*texts)), tmp_path, Scoring())
    assert run.ids == ["w", "v", "v#2"] and [row.score.iou for row in run.rows] == pytest.approx([1, 1, 1])


def test_a_damaged_image_between_labelled_frames_is_reported_and_costs_no_sample(
    make_bag, samples_of, scripted, tmp_path
):
    def read():
        for clip in read_clips(bag, with_images=True):
            is_hurt = not clip.count and clip.frames[0].stamp_ns == stamps[1]
            yield replace(clip, frames=(replace(clip.frames[0], load_frame=damaged),)) if is_hurt else clip

    def damaged():
        raise InvalidInput("this image is damaged")

    bag = make_bag([samples_of("v"), samples_of("w", image=1), samples_of("v", image=2)])
    stamps = [clip.frames[0].stamp_ns for clip in read_clips(bag)]
    watcher = Watcher(scripted("nothing"))
    run = evaluate(with_videos(read()), watcher, tmp_path, Scoring())
    assert (run.samples, run.failed, watcher.videos[0][2]) == (3, 0, 2)
    assert [(item.sample_id, item.samples) for item in run.unreadable] == [("", 0)]
    assert "is damaged" in run.unreadable[0].reason


def test_frames_asked_one_by_one_are_summarised_by_expression(video_bag, scripted, answer_text, described, tmp_path):
    said = [[BOX], [], None, [OTHER], [], [BOX]]  # v/0, v/0, v/1, v/0, v/1, still
    texts = ["I cannot tell." if boxes is None else answer_text(*boxes) for boxes in said]
    run = evaluate(read_clips(video_bag), scripted(*texts), tmp_path, Scoring())
    found = finish(tmp_path, run, described, "")
    assert found["expressions"] == 2 and list(found["by_expression"]) == ["v/0", "v/1"]
    # One frame of three is right; what was not answered counts 0, an empty frame answered with nothing 1.
    assert found["by_expression"]["v/0"] == pytest.approx({"j": 1 / 3, "f": 1 / 3, "j_and_f": 1 / 3}, abs=1e-4)
    assert found["by_expression"]["v/1"] == {"j": 0.5, "f": 0.5, "j_and_f": 0.5}
    assert found["j_and_f"] == pytest.approx(5 / 12, abs=1e-4)
    assert found["by_kind"]["function"]["j"] == found["j"]
    low, high = found["intervals_95"]["j_and_f"]
    assert low <= found["j_and_f"] <= high
    page = (tmp_path / "report.html").read_text()
    assert "41.7" in page and '<button data-expression="v/1">' in page
    assert "ReVSeg-7B" not in page and "LISA" not in page, "these are not the videos of any publication"


def test_stills_have_no_video_scores(make_bag, samples_of, scripted, answer_text, described, tmp_path):
    bag = make_bag([samples_of("a"), samples_of("b", image=1)])
    found = finish(tmp_path, evaluate(read_clips(bag), scripted(answer_text(BOX)), tmp_path, Scoring()), described, "")
    assert (found["expressions"], found["j"], found["by_expression"]) == (0, None, {})


def test_a_damaged_frame_does_not_lose_the_video(video_bag, scripted, answer_text, tmp_path):
    def damaged():
        raise InvalidInput("this image is damaged")

    def read():
        for clip in read_clips(video_bag, with_images=True):
            is_hurt = clip.frames[0].sample_id == "v/0#2"
            yield replace(clip, frames=(replace(clip.frames[0], load_frame=damaged),)) if is_hurt else clip

    watcher = Watcher(scripted(answer_text(BOX)))
    run = evaluate(with_videos(read()), watcher, tmp_path, Scoring())
    assert watcher.videos[0][2] == 2 and [item.sample_id for item in run.unreadable] == ["v/0#2"]
    assert run.samples == 6


class Bag:
    """Clips of a bag that is read once, image by image, and how many of its images are still held."""

    def __init__(self):
        self.held, self.most_held = weakref.WeakSet(), 0

    def image(self, number):
        def load_frame():
            raise AssertionError("nothing is decoded here")

        self.held.add(load_frame)
        self.most_held = max(self.most_held, len(self.held))
        return Clip(frames=(Sample("", number, load_frame, is_asked=False),))

    def asked(self, expression, number, image):
        sample = replace(image.frames[0], sample_id=f"{expression}@{number}", is_asked=True)
        return Clip(f"{expression}?", (sample,), expression)

    def clips(self, asked):
        """`asked` gives the expressions about each image."""
        for number, expressions in enumerate(asked):
            image = self.image(number)
            yield image
            for expression in expressions:
                yield self.asked(expression, number, image)
            del image


def test_a_bag_of_stills_is_read_in_bounded_memory():
    bag = Bag()
    found = with_videos(bag.clips([f"q{number}"] for number in range(1000)))
    assert [clip.expression for clip in found] == [f"q{number}" for number in range(1000)]
    assert bag.most_held <= GAP_IMAGES + 3


def test_short_videos_one_after_the_other_are_held_no_longer_than_needed():
    bag = Bag()
    clips = list(map(len, (clip.frames for clip in with_videos(bag.clips([f"v{n // 20}"] for n in range(1000))))))
    assert clips == [20] * 50
    assert bag.most_held <= GAP_IMAGES + 2 * 20 + 3


@pytest.mark.parametrize(("gap", "whole"), [(GAP_IMAGES, True), (GAP_IMAGES + 1, False)])
def test_an_image_that_comes_after_its_expression_is_complete_is_refused(gap, whole):
    asked = [["v"], *([[]] * (gap - 1)), ["v", "w"], *([[]] * 5)]
    clips = list(with_videos(Bag().clips(asked)))
    assert [len(clip.samples) for clip in clips] == ([2, 1] if whole else [1, 0, 1])
    assert len(clips[0].frames) == (gap + 1 if whole else 1)
    lost = [lost for clip in clips for lost in clip.unreadable]
    assert [part.sample_id for part in lost] == ([] if whole else [f"v@{gap}"])
    assert whole or f"more than {GAP_IMAGES} images after the one before" in lost[0].reason


def test_an_expression_about_too_many_images_is_refused_and_frees_them(monkeypatch):
    monkeypatch.setattr("reasonseg_ros.evaluation.reading.videos.MOST_IMAGES", 10)
    bag = Bag()
    asked = [["long", "short"] if number < 3 else ["long"] for number in range(300)]
    clips = list(with_videos(bag.clips(asked)))
    assert [clip.expression for clip in clips if clip.samples] == ["short"]
    lost = [lost for clip in clips for lost in clip.unreadable]
    assert [part.sample_id for part in lost] == [f"long@{number}" for number in range(300)]
    assert all("more than 10 images" in part.reason and part.samples == 1 for part in lost)
    assert bag.most_held <= GAP_IMAGES + 10 + 3

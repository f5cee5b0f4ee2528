import threading
import time
from itertools import islice

import numpy as np
import pytest

from reasonseg_ros.errors import OutOfMemory
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.pipeline import Loaded, Pace, answered, groups, images_on_their_way, load
from reasonseg_ros.evaluation.reading.clips import Clip, unreadable
from reasonseg_ros.evaluation.run import collect, evaluate, finish
from reasonseg_ros.evaluation.run_folder import begin
from reasonseg_ros.evaluation.scoring.judging import Scoring
from reasonseg_ros.segmenter.kept_features import KeptFeatures

BOX, OTHER = (8, 8, 24, 24), (40, 30, 60, 44)
PACES = [Pace(), Pace(most_ahead=1), Pace(most_ahead=4), Pace(batch_size=3), Pace(batch_size=3, most_ahead=4)]


@pytest.fixture
def texts(answer_text):
    return [answer_text(BOX), answer_text(OTHER), answer_text(), "mumble", answer_text(BOX, OTHER)]


@pytest.fixture
def bag(make_bag, samples_of):
    """Two questions about each of eight images, the third of which is lost."""
    asked = [samples_of(f"{n}{a}", None if a else BOX, image=n) for n in range(8) for a in range(2)]
    return make_bag(asked, change=lambda messages: messages[: 2 * 5] + messages[2 * 5 + 1 :])


class Counting:
    """A segmenter that counts what it is asked for, and remembers in which thread."""

    name = "counting"
    needs_boxes = False

    def __init__(self, segmenter):
        self.segmenter, self.encoded, self.threads = segmenter, 0, set()

    def encode(self, rgb):
        self.encoded += 1
        self.threads.add(threading.current_thread().name)
        return self.segmenter.encode(rgb)

    def decode(self, features, groundings):
        return self.segmenter.decode(features, groundings)


def with_batches(method):
    """The scripted reasoner answers batches too."""

    def answer_batch(frames, texts):
        method.batches.append(len(texts))
        return [method.reasoner.answer(frame, text) for frame, text in zip(frames, texts, strict=True)]

    method.batches, method.reasoner.answer_batch = [], answer_batch
    return method


def threads_ahead():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead-")]


def rows(run):
    return [(i, row.status, row.score, row.ideal_iou) for i, row in zip(run.ids, run.rows, strict=True)]


@pytest.mark.parametrize("pace", PACES, ids=str)
def test_order_and_results_are_the_same_at_every_pace(bag, scripted, texts, described, tmp_path, pace):
    found = {}
    for name, chosen in (("plain", Pace()), ("paced", pace)):
        method = with_batches(scripted(*texts))
        method.segmenter = counting = Counting(method.segmenter)
        method.segmenter = KeptFeatures(counting, images_on_their_way(chosen))
        begin(tmp_path / name, described, resume=False)
        run = evaluate(read_clips(bag), method, tmp_path / name, Scoring(), pace=chosen)
        summary = finish(tmp_path / name, run, described, "")
        ious = [row.score.iou for row in run.rows if row.score]
        assert run.scored == len(ious) and run.iou_sum == pytest.approx(sum(ious))  # what the progress bar shows
        found[name] = rows(run), run.unreadable, summary["giou"], summary["failures"]
        if name == "paced":
            assert counting.encoded == 7, "each image that is there, once"
            assert sum(method.batches) == (14 if pace.batch_size > 1 else 0)
            assert set(method.batches[:-1]) <= {pace.batch_size}
            assert all(t.startswith("ahead-") for t in counting.threads) or not pace.most_ahead
    assert found["paced"] == found["plain"]
    assert len(found["plain"][0]) == 14 and len(found["plain"][1]) == 2


def test_the_next_image_is_encoded_while_the_reasoner_runs(bag, scripted, texts, tmp_path):
    method = scripted(*texts)
    method.segmenter = counting = Counting(method.segmenter)
    method.segmenter = KeptFeatures(counting, images_on_their_way(Pace(1, 4)))
    seen = []

    def answer(frame, query, call):
        end_s = time.monotonic() + 30
        while not seen and counting.encoded < 2 and time.monotonic() < end_s:
            time.sleep(0.005)
        seen.append(counting.encoded)
        return type(method).answer(method, frame, query, call)

    method.answer = answer
    assert len(list(answered(map(load, read_clips(bag)), method, Scoring(), Pace(1, 4)))) == 16
    assert seen[0] >= 2


def test_memory_that_runs_out_ahead_is_reported_with_the_answer(make_bag, samples_of, scripted, texts, tmp_path):
    def encode(rgb):
        raise OutOfMemory("no memory is left")

    method = scripted(texts[0])
    method.segmenter.encode = encode
    run = evaluate(read_clips(make_bag([samples_of("a")])), method, tmp_path, Scoring(), pace=Pace(1, 2))
    assert [row.status for row in run.rows] == ["out_of_memory"]


@pytest.mark.parametrize("most_ahead", [0, 2])
def test_an_error_ends_the_run_and_its_threads(bag, scripted, texts, tmp_path, most_ahead):
    def broken():
        yield from islice(read_clips(bag), 3)
        raise KeyError("what read the bag")

    with pytest.raises(KeyError):
        evaluate(broken(), scripted(*texts), tmp_path, Scoring(), pace=Pace(1, most_ahead))
    assert not threads_ahead()


def test_an_interrupted_run_keeps_what_is_done(bag, scripted, texts, tmp_path):
    def interrupted(run):
        if len(run.rows) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(read_clips(bag), scripted(*texts), tmp_path, Scoring(), 0, interrupted, Pace(1, 4))
    assert not threads_ahead()
    assert (tmp_path / "results.jsonl").read_bytes().count(b"\n") == 3


def test_groups_keep_what_needs_no_answer_in_its_place(bag, scripted, texts):
    loaded = [load(clip) for clip in read_clips(bag) if clip.samples][:5]
    items = [Loaded(Clip(), kept=("x",)), *loaded[:3], load(unreadable("y", "lost")), *loaded[3:]]
    assert [len(group) for group in groups(items, 1)] == [1] * 7
    assert [len(group) for group in groups(items, 2)] == [3, 3, 1]
    assert [item for group in groups(items, 4) for item in group] == items


def test_masks_are_those_of_their_own_image(make_bag, samples_of, scripted, answer_text, tmp_path):
    """Features are looked up by image, so a mix-up would show in the sizes that the scripted segmenter was given."""
    bag = make_bag([samples_of(f"{n}", image=n) for n in range(6)])
    method = scripted(answer_text(BOX))
    encoded = []
    encode = method.segmenter.encode
    method.segmenter.encode = lambda rgb: encoded.append(rgb.copy()) or encode(rgb)
    segmentations = []
    method.segmenter = KeptFeatures(method.segmenter, images_on_their_way(Pace(1, 3)))
    prompt = method.prompt
    method.prompt = lambda frame, groundings: segmentations.append(frame) or prompt(frame, groundings)
    collect(read_clips(bag), lambda items: answered(items, method, Scoring(), Pace(1, 3)), tmp_path)
    assert len(encoded) == 6
    for rgb, frame in zip(encoded, segmentations, strict=True):
        assert np.array_equal(rgb, frame.rgb)

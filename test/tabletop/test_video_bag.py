import random
from types import SimpleNamespace

import pytest

from reasonseg_ros.bags import BagReader, header_stamp_ns
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.bag_messages import read_bags
from reasonseg_ros.evaluation.reading.videos import with_videos
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.tabletop.videos.bag import VideoBagPlan, video_questions, write_video_bag
from reasonseg_ros.tabletop.videos.film import film
from reasonseg_ros.tabletop.videos.temporal import ask_about


@pytest.fixture(scope="module")
def bag(world, tmp_path_factory):
    """Two videos of 6 frames: something is hidden in the first one."""
    path = tmp_path_factory.mktemp("videos") / "bag"
    plan = VideoBagPlan(1000, 2, questions=2, frames=6, rate_hz=2.0, depth=False)
    assert list(write_video_bag(plan, world, path)) == [1, 2]
    return path


def read(path, topic):
    with BagReader(path) as opened:
        return [message for _, _, message in opened.messages([topic])]


def test_every_frame_has_the_truth_of_every_question(bag):
    stamps = [header_stamp_ns(image.header) for image in read(bag, "/camera/image")]
    queries = read(bag, "/reasonseg/query")
    truths = read(bag, "/reasonseg/ground_truth")
    assert len(stamps) == len(set(stamps)) == 12 and stamps == sorted(stamps)
    assert {query.mode for query in queries} == {"history"}
    assert len(truths) == 6 * len(queries)
    for truth in truths:
        mask = decode_mask(truth.mask)
        # A target that is not seen has an empty mask and no box.
        assert mask.any() == (len(truth.boxes) == 1)
        assert truth.kind in ("pushed", "rolled", "fell", "put_down", "hidden")
    assert any(not truth.boxes for truth in truths)


def test_evaluation_takes_the_frames_of_a_question_together(bag):
    clips = list(with_videos(read_bags([bag], with_images=True)))
    assert not any(clip.unreadable for clip in clips)
    assert [len(clip.samples) for clip in clips] == [6] * len(read(bag, "/reasonseg/query"))


def test_questions_are_about_different_events(world):
    video = film(world, 1001, 6, 2.0)
    questions = video_questions(video, 5, "unseen")
    assert len({kind for kind, _ in questions}) == len(questions) == 2
    assert len(video_questions(video, 1, "train")) == 1
    twice = SimpleNamespace(scenes=video.scenes, events=video.events * 2)
    assert ask_about(twice, video.events[0], random.Random(1)) is None


def test_what_is_to_be_followed_is_named_after_the_first_frame(world, tmp_path):
    plan = VideoBagPlan(1001, 1, frames=6, rate_hz=2.0, depth=False, track=True)
    list(write_video_bag(plan, world, tmp_path / "bag"))
    with BagReader(tmp_path / "bag") as opened:
        images = [stamp_ns for _, stamp_ns, _ in opened.messages(["/camera/image"])]
        asked = {query.mode: stamp_ns for _, stamp_ns, query in opened.messages(["/reasonseg/query"])}
    assert asked == {"track": images[0] + 1, "history": images[-1] + 1}
    named = [truth for truth in read(tmp_path / "bag", "/reasonseg/ground_truth") if truth.kind == "track"]
    happened = [truth for truth in read(tmp_path / "bag", "/reasonseg/ground_truth") if truth.kind != "track"]
    assert len(named) == len(happened) == 6
    target = film(world, 1001, 6, 2.0).scenes[0].objects
    assert named[0].question in {f"the {item.color} {item.category}" for item in target}
    for one, other in zip(named, happened, strict=True):
        assert (decode_mask(one.mask) == decode_mask(other.mask)).all()


@pytest.mark.parametrize(("seed", "videos"), [(1, 0), (-1, 2), (999_999_999, 2)])
def test_plans_that_make_no_sense_are_refused(seed, videos):
    with pytest.raises(InvalidInput, match="expected"):
        VideoBagPlan(seed, videos)

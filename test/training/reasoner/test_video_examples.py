"""Round 1 of questions about videos: what is to be written, and where to look meanwhile."""

import random

import numpy as np
import pytest

from reasonseg_ros.tabletop.videos.temporal import Sighting
from reasonseg_ros.tabletop.videos.video import EVENT_KINDS
from reasonseg_ros.training.reasoner.examples import ExampleEncoder
from reasonseg_ros.training.reasoner.images import dense_labels
from reasonseg_ros.training.reasoner.model import IMAGE_TOKENS
from reasonseg_ros.training.reasoner.video_examples import VideoEncoder, draw_keyframe, event_labels, video_view
from reasonseg_ros.training.rendered.videos import VideoFiles


@pytest.fixture
def video(video_folder):
    return video_view(VideoFiles(video_folder)[1])


@pytest.fixture
def labels(video):
    return [dense_labels(scene) for scene in video.scenes]


def test_an_event_is_marked_from_when_it_shows(video, labels):
    happened = event_labels(video, labels).reshape(6, IMAGE_TOKENS, len(EVENT_KINDS))
    assert not happened[:3].any()
    for event in video.events:
        where = happened[3:, :, EVENT_KINDS.index(event.kind)] > 0
        # The hidden one is marked where it was seen last.
        shown = labels[2 if event.kind == "hidden" else 3].tokens[event.instance_id]
        assert all(np.array_equal(frame, shown) for frame in where)


def test_the_keyframe_shows_the_target_and_is_looked_at(video, labels, tokenizer):
    encoder = VideoEncoder(ExampleEncoder(tokenizer), 6)
    for event in video.events:
        example = encoder.happened(video, labels, event, random.Random(1))
        text = tokenizer.decode(example.response)
        target = next(o for o in video.scenes[0].objects if o.instance_id == event.instance_id)
        assert f'"object description":"the {target.color} {target.category}"}}]</answer>' in text
        number = int(text.split('"frame_idx":')[1][0])
        assert labels[number - 1].tokens.get(event.instance_id) is not None
        last_look = example.looks[-1, 1:].reshape(6, IMAGE_TOKENS)
        assert np.array_equal(last_look[number - 1], labels[number - 1].tokens[event.instance_id])
        assert not np.delete(last_look, number - 1, 0).any()


def test_what_did_not_happen_is_answered_with_nothing(video, labels, tokenizer):
    encoder = VideoEncoder(ExampleEncoder(tokenizer), 6)
    example = encoder.nothing("rolled", 6, random.Random(0))
    assert "<answer>[]</answer>" in tokenizer.decode(example.response)
    assert example.looks[:, 0].all() and not example.looks[:, 1:].any()


def test_keyframes_are_mostly_those_that_show_the_target_largest():
    seen = [Sighting(0, 100, ""), Sighting(3, 1000, ""), Sighting(5, 980, "")]
    drawn = [draw_keyframe(seen, random.Random(n)).frame for n in range(200)]
    assert drawn.count(0) < 10 < drawn.count(5) < drawn.count(3)

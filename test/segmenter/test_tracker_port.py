"""What every tracker promises, over the features of its segmenter."""

from itertools import count

import numpy as np
import pytest
from transformers import Sam2Model

from reasonseg_ros.config import config_from
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.methods.tracking import load_tracker
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.numbered import NumberedTracker
from reasonseg_ros.segmenter.port import Tracker
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter, ScriptedTracker
from reasonseg_ros.training.segmenter.memory.model import new_video_model
from reasonseg_ros.training.segmenter.model import small_config
from reasonseg_ros.types import Grounding
from test.ports import check_members

STATES = {"new", "tracked", "occluded", "lost"}
PERIOD_NS = 100_000_000
LEFT, RIGHT = Grounding([10, 20, 50, 60], [[30, 40]]), Grounding([90, 30, 130, 70], [[110, 50]])
CONFIGURED = {
    "embedded memory": {"segmenter.refine": "none"},
    "embedded memory, refined": {"segmenter.refine": "edges"},
    "embedded reprompt": {"tracker.mode": "reprompt"},
    "torch memory": {"segmenter.model": "video", "segmenter.refine": "none"},
    "targets that may overlap": {"segmenter.refine": "edges", "tracker.overlap": True},
}


@pytest.fixture(scope="module")
def video_checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "video"
    new_video_model(Sam2Model(small_config(64)), 64, 0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["scripted", "numbered", *CONFIGURED])
def models(request, video_checkpoint):
    """The segmenter and what makes its trackers."""
    if request.param == "scripted":
        return ScriptedSegmenter("box"), ScriptedTracker
    if request.param == "numbered":
        numbers = count(5)
        return ScriptedSegmenter("box"), lambda: NumberedTracker(ScriptedTracker(), numbers)
    settings = {"segmenter.device": "cpu", "segmenter.threads": 1, **CONFIGURED[request.param]}
    if settings.get("segmenter.model") == "video":
        settings["segmenter.model"] = str(video_checkpoint)
    config = config_from(settings)
    segmenter = load_segmenter(config.segmenter)
    return segmenter, load_tracker(config, segmenter)


@pytest.fixture
def tracker(models):
    return models[1]()


@pytest.fixture
def encode(models):
    def encode(number, hidden=False):
        """A red and a blue square that move; on a `hidden` frame there is neither."""
        rgb = np.full((120, 160, 3), 120, np.uint8)
        if not hidden:
            rgb[20:60, 10 + number : 50 + number] = (220, 30, 30)
            rgb[30:70, 90 - number : 130 - number] = (30, 30, 220)
        return models[0].encode(rgb)

    return encode


def check(tracks, ids, stamp_ns, size_hw=(120, 160)):
    assert [track.track_id for track in tracks] == ids
    for track in tracks:
        assert (track.mask.dtype, track.mask.shape) == (bool, size_hw)
        assert 0 <= track.score <= 1 and track.state in STATES
        assert track.since_ns <= stamp_ns and track.seen_ns <= stamp_ns
        if track.mask.any():
            assert track.state in ("new", "tracked") and track.seen_ns == stamp_ns
        else:
            assert track.state in ("occluded", "lost") and track.score == 0


def test_it_has_the_members_of_the_port(tracker):
    check_members(Tracker, tracker)


def test_every_target_is_reported_in_every_frame_in_the_order_of_ids(tracker, encode):
    added = tracker.add(encode(0), [LEFT, RIGHT], PERIOD_NS)
    ids = [track.track_id for track in added]
    assert ids == sorted(set(ids))
    check(added, ids, PERIOD_NS)
    for number in (1, 2):
        check(tracker.step(encode(number), (number + 1) * PERIOD_NS), ids, (number + 1) * PERIOD_NS)


def test_tracks_that_start_from_finished_masks_have_these_masks(tracker, encode):
    masks = [np.zeros((120, 160), bool) for _ in range(3)]
    masks[0][22:58, 12:48] = masks[1][30:70, 90:130] = True
    added = tracker.add(encode(0), [LEFT, RIGHT, RIGHT], PERIOD_NS, masks)
    ids = [track.track_id for track in added]
    check(added, ids, PERIOD_NS)
    for track, mask in zip(added, masks, strict=True):
        assert np.array_equal(track.mask, mask)
    assert [track.state for track in added] == ["new", "new", "occluded"], "an empty mask shows no target"
    check(tracker.step(encode(1), 2 * PERIOD_NS), ids, 2 * PERIOD_NS)


def test_targets_that_are_not_to_be_seen_keep_their_ids(tracker, encode):
    ids = [track.track_id for track in tracker.add(encode(0), [LEFT, RIGHT], PERIOD_NS)]
    for number in range(1, 4):
        check(tracker.step(encode(number, hidden=True), number * 10 * PERIOD_NS), ids, number * 10 * PERIOD_NS)


def test_targets_come_and_go_and_no_id_is_used_twice(tracker, encode):
    first, second = (track.track_id for track in tracker.add(encode(0), [LEFT, RIGHT], PERIOD_NS))
    (third,) = (track.track_id for track in tracker.add(encode(0), [RIGHT], PERIOD_NS))
    assert len({first, second, third}) == 3
    tracker.remove([second])
    check(tracker.step(encode(1), 2 * PERIOD_NS), [first, third], 2 * PERIOD_NS)
    (fourth,) = (track.track_id for track in tracker.add(encode(1), [RIGHT], 2 * PERIOD_NS))
    assert fourth > third
    tracker.reset()
    assert tracker.step(encode(2), 3 * PERIOD_NS) == []
    assert tracker.add(encode(2), [LEFT], 3 * PERIOD_NS)[0].track_id not in (first, second)


def test_without_targets_there_are_no_tracks(tracker, encode):
    assert tracker.step(encode(0), PERIOD_NS) == []
    assert tracker.add(encode(0), [], PERIOD_NS) == []
    tracker.remove([])
    tracker.reset()


def test_an_id_that_is_not_tracked_cannot_be_removed(tracker, encode):
    (track,) = tracker.add(encode(0), [LEFT], PERIOD_NS)
    with pytest.raises(InvalidInput, match=f"track {track.track_id + 7} is not"):
        tracker.remove([track.track_id + 7])
    check(tracker.step(encode(1), 2 * PERIOD_NS), [track.track_id], 2 * PERIOD_NS)


def test_trackers_of_one_maker_do_not_share_targets(models, encode):
    one, other = models[1](), models[1]()
    one.add(encode(0), [LEFT], PERIOD_NS)
    assert other.step(encode(1), 2 * PERIOD_NS) == []

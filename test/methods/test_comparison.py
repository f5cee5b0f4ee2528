"""The model is asked about every candidate alone and about all together; scripted replies."""

from __future__ import annotations

import numpy as np
import pytest

from reasonseg_ros.methods.candidates import ATTENTION, DIRECT, SAMPLE, Candidate, union
from reasonseg_ros.methods.comparison import ModelScores, Votes, close_up, marked
from reasonseg_ros.methods.rea2_seg import best_of
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Region, Status

QUERY = Query("what is bright?")


class Listening(ScriptedReasoner):
    """Remembers the images of each reply."""

    def reply(self, images, words, call=WAIT):
        self.images = [*getattr(self, "images", []), [image.copy() for image in images]]
        return super().reply(images, words, call)


def candidate(*boxes, source=SAMPLE, votes=0):
    groundings = tuple(Grounding(np.array(box, np.float32)) for box in boxes)
    regions = []
    for grounding in groundings:
        mask = np.zeros((120, 160), bool)
        x1, y1, x2, y2 = grounding.box_xyxy.astype(int)
        mask[y1:y2, x1:x2] = True
        regions.append(Region(mask, grounding.box_xyxy, grounding, 1.0, 1.0, 1.0, 0, 1))
    answer = Answer(Status.OK if boxes else Status.NO_TARGET, groundings=groundings)
    return Candidate(answer, source, votes, tuple(regions), union(regions, (160, 120)))


@pytest.fixture
def frame():
    return Frame(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))


ONE, TWO, NOTHING = candidate((10, 10, 40, 40), source=DIRECT), candidate((100, 60, 140, 100)), candidate()


def test_votes_count_and_the_direct_answer_wins_a_tie(frame):
    voted = [candidate((0, 0, 9, 9), source=DIRECT, votes=3), candidate((20, 0, 29, 9), votes=3)]
    nobody = candidate((40, 0, 49, 9), source=ATTENTION)
    assert Votes().scores(frame, QUERY, [*voted, nobody], ScriptedReasoner([""]), WAIT) == [3.5, 3, None]


@pytest.mark.parametrize(
    ("direct", "others", "expected", "best"),
    [
        (2, (4, 2), [4, 4, 2], 0),  # half of the votes is no majority
        (2, (5, 1), [4, 5, 1], 1),
        (0, (3, 2, 1, 1, 1), [4, 3, 2, 1, 1, 1], 0),  # the most votes, but no majority
        (1, (2,), [1.5, 2], 1),
        (0, (1,), [0.5, 1], 1),
    ],
)
def test_only_an_absolute_majority_of_the_votes_replaces_the_direct_answer(frame, direct, others, expected, best):
    candidates = [candidate((0, 0, 9, 9), source=DIRECT, votes=direct)]
    candidates += [candidate((20 * place, 0, 20 * place + 9, 9), votes=votes) for place, votes in enumerate(others, 1)]
    scores = Votes().scores(frame, QUERY, candidates, ScriptedReasoner([""]), WAIT)
    assert (scores, best_of(candidates, scores)) == (expected, best)


def test_without_a_direct_answer_the_most_votes_win(frame):
    candidates = [candidate((0, 0, 9, 9), votes=1), candidate((20, 0, 29, 9), votes=2)]
    assert Votes().scores(frame, QUERY, candidates, ScriptedReasoner([""]), WAIT) == [1, 2]


def test_each_is_shown_alone_then_all_side_by_side(frame):
    texts = ['{"score": 2}', '{"score": 8}', '{"score": 1}', '<answer>{"1": 4, "2": 10}</answer>']
    reasoner = Listening(texts)
    assert ModelScores().scores(frame, QUERY, [ONE, TWO, NOTHING], reasoner, WAIT) == [3, 9, 1]
    assert [len(images) for images in reasoner.images] == [2, 2, 1, 1]
    assert all("what is bright?" in words for words in reasoner.questions)
    overlay, crop = reasoner.images[1]
    changed = (overlay != frame.rgb).any(-1)
    assert changed[60:100, 100:140].any() and not changed[:50].any()
    assert crop.shape[0] == crop.shape[1]


def test_candidates_without_a_readable_score_have_none(frame):
    assert ModelScores().scores(frame, QUERY, [ONE, TWO], ScriptedReasoner(["good", "fine", "both"]), WAIT) == [
        None,
        None,
    ]
    found = ModelScores().scores(frame, QUERY, [ONE, TWO], ScriptedReasoner(["good", '{"score": 3}', "both"]), WAIT)
    assert found == [None, 3]


def test_a_single_candidate_is_not_asked_about(frame):
    reasoner = ScriptedReasoner(["never said"])
    assert ModelScores().scores(frame, QUERY, [ONE], reasoner, WAIT) == [None]
    assert reasoner.questions == []


def test_nobody_is_asked_after_the_question_was_cancelled(frame):
    reasoner = ScriptedReasoner(['{"score": 3}'])
    assert ModelScores().scores(frame, QUERY, [ONE, TWO], reasoner, Call(cancelled=lambda: True)) == [None, None]
    assert reasoner.questions == []


@pytest.mark.parametrize("box", [(0, 0, 3, 3), (150, 110, 160, 120), (0, 0, 160, 120), (70, 2, 75, 118)])
def test_a_close_up_shows_the_whole_candidate_and_is_not_tiny(box):
    one = candidate(box)
    rgb = np.zeros((120, 160, 3), np.uint8)
    rgb[one.mask] = (255, 0, 255)
    crop = close_up(rgb, one)
    assert min(crop.shape[:2]) >= 112
    seen = np.count_nonzero((crop.astype(int) - (255, 0, 255)).__abs__().max(-1) < 100)
    assert seen >= 0.95 * np.count_nonzero(one.mask)


def test_marks_are_numbers_inside_their_candidates(frame):
    picture = marked(frame.rgb, [ONE, TWO])
    for one in (ONE, TWO):
        x1, y1, x2, y2 = one.regions[0].box_xyxy.astype(int)
        inside = picture[y1 + 5 : y2 - 5, x1 + 5 : x2 - 5]
        assert (inside == 255).all(-1).any() and (inside == 0).all(-1).any()
    np.testing.assert_array_equal(picture[:, 60:90], frame.rgb[:, 60:90])

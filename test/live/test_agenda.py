"""Which question is next, without threads."""

import numpy as np
import pytest

from reasonseg_ros.config import CameraConfig, Config, QueryConfig, StreamConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.agenda import Agenda
from reasonseg_ros.live.requests import Outcome, Request
from reasonseg_ros.types import Answer, Grounding, Mode, Query, Status

CONFIG = Config(
    camera=CameraConfig(silent_error_s=30.0),
    query=QueryConfig(queue_size=3, watch_period_s=10.0, ask_again=1),
    stream=StreamConfig(follow_watched=False),
)
BOX = Grounding(np.array([1, 1, 5, 5], np.float32))


def question(name, mode=Mode.ONCE, frames=0, asked_s=0.0):
    return Request(Query("what is red?", name, mode, frames), lambda outcome: None, asked_s=asked_s)


def outcome(request, status=Status.OK, is_followed=False):
    is_ok = status is Status.OK
    answer = Answer(status, groundings=(BOX,) if is_ok else (), error="" if is_ok else "it went away")
    return Outcome(request, answer, None, 0.0, is_followed=is_followed)


def standing(agenda, *requests):
    for request in requests:
        agenda.admit(request, CONFIG.query)
        agenda.begin_waiting()
        assert not agenda.end_running(outcome(request), CONFIG).is_last


def test_new_questions_run_in_their_order_and_end():
    agenda, first, second = Agenda(), question("a"), question("b")
    agenda.admit(first, CONFIG.query)
    agenda.admit(second, CONFIG.query)
    assert agenda.begin_waiting() is first
    assert agenda.end_running(outcome(first), CONFIG).is_last
    assert (first in agenda, agenda.taken is first, agenda.running) == (False, True, None)
    assert agenda.begin_waiting() is second


def test_waiting_and_standing_questions_share_the_room():
    agenda = Agenda()
    standing(agenda, question("w", Mode.WATCH))
    for name in "ab":
        agenda.admit(question(name), CONFIG.query)
    with pytest.raises(InvalidInput, match="3 questions wait or stand"):
        agenda.admit(question("c"), CONFIG.query)


def test_the_one_that_is_due_longest_is_asked_again():
    agenda = Agenda()
    late, early = question("late", Mode.WATCH), question("early", Mode.WATCH)
    standing(agenda, late, early)
    late.asked_s, early.asked_s = 1e9, 1e9 - 60  # of the monotonic clock: in the future, so nothing is due
    assert agenda.due_s(CONFIG, newer_s=1e9) > 0
    late.is_due = True
    assert agenda.due_s(CONFIG, newer_s=1e9) < 0
    assert agenda.begin_standing(CONFIG, newer_s=1e9) is late
    assert not late.is_due
    assert agenda.begin_standing(CONFIG, newer_s=1e9) is early


def test_a_lost_target_is_asked_for_again_once_and_then_waits_for_its_period():
    agenda, watched = Agenda(), question("w", Mode.WATCH)
    agenda.admit(watched, CONFIG.query)
    agenda.begin_waiting()
    agenda.end_running(outcome(watched, Status.LOST), CONFIG)
    assert watched.is_due
    agenda.begin_standing(CONFIG, 0.0)
    assert not agenda.end_running(outcome(watched, Status.LOST), CONFIG).is_last
    assert not watched.is_due


def test_masks_do_not_put_off_a_question_that_is_due():
    agenda, watched = Agenda(), question("w", Mode.WATCH)
    standing(agenda, watched)
    watched.is_due = True  # its scene has changed
    agenda.settle_followed(outcome(watched, is_followed=True), CONFIG)
    assert watched.is_due


def test_what_is_dropped_ends_as_cancelled_whatever_came_of_it():
    agenda, waits, runs = Agenda(), question("waits"), question("runs")
    agenda.admit(runs, CONFIG.query)
    agenda.begin_waiting()
    agenda.admit(waits, CONFIG.query)
    assert agenda.drop_all("cleared") == [waits]
    assert agenda.running is runs
    ended = agenda.end_running(outcome(runs), CONFIG)
    assert (ended.answer.status, ended.answer.error, ended.is_last) == (Status.CANCELLED, "cleared", True)
    assert not agenda.drop(runs, "again")

"""Which question is next, without threads."""

import numpy as np
import pytest

from reasonseg_ros.config import CameraConfig, Config, QueryConfig, StreamConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.agenda import Agenda
from reasonseg_ros.live.questions import NoSegmentation, Outcome, Question, Turn
from reasonseg_ros.types import Answer, Grounding, Mode, Query, Status

CONFIG = Config(
    camera=CameraConfig(silent_error_s=30.0),
    query=QueryConfig(queue_size=3, watch_period_s=10.0, ask_again=1),
    stream=StreamConfig(follow_watched=False),
)
BOX = Grounding(np.array([1, 1, 5, 5], np.float32))


def question(name, mode=Mode.ONCE, frames=0, asked_s=0.0):
    return Question(Query("what is red?", name, mode, frames), lambda outcome: None, asked_s=asked_s)


def outcome(question, status=Status.OK, is_tracked=False):
    is_ok = status is Status.OK
    answer = Answer(status, groundings=(BOX,) if is_ok else (), error="" if is_ok else "it went away")
    return Outcome(question, NoSegmentation(answer), 0.0, is_tracked=is_tracked)


def turn(pending, status=Status.OK):
    return Turn(outcome(pending.question, status))


def standing(agenda, *questions):
    """Have these stand. Returns them as they are on the agenda."""
    found = []
    for one in questions:
        agenda.admit(one, CONFIG.query)
        found.append(agenda.begin_waiting())
        assert not agenda.end_running(turn(found[-1]), CONFIG).is_last
    return found


def test_new_questions_run_in_their_order_and_end():
    agenda, first, second = Agenda(), question("a"), question("b")
    agenda.admit(first, CONFIG.query)
    agenda.admit(second, CONFIG.query)
    running = agenda.begin_waiting()
    assert running.question is first and agenda.find(first) is running
    assert agenda.end_running(turn(running), CONFIG).is_last
    assert (running in agenda, agenda.find(first), agenda.taken is running, agenda.running) == (False, None, True, None)
    assert agenda.begin_waiting().question is second


def test_waiting_and_standing_questions_share_the_room():
    agenda = Agenda()
    standing(agenda, question("w", Mode.WATCH))
    for name in "ab":
        agenda.admit(question(name), CONFIG.query)
    with pytest.raises(InvalidInput, match="3 questions wait or stand"):
        agenda.admit(question("c"), CONFIG.query)


def test_the_one_that_is_due_longest_is_asked_again():
    agenda = Agenda()
    # Of the monotonic clock: in the future, so nothing is due.
    late, early = standing(
        agenda, question("late", Mode.WATCH, asked_s=1e9), question("early", Mode.WATCH, asked_s=1e9 - 60)
    )
    assert agenda.due_s(CONFIG, newer_s=1e9) > 0
    agenda.make_due([late])
    assert agenda.due_s(CONFIG, newer_s=1e9) < 0
    assert agenda.begin_standing(CONFIG, newer_s=1e9) is late
    assert agenda.begin_standing(CONFIG, newer_s=1e9) is early
    agenda.end_running(turn(early), CONFIG)
    assert agenda.due_s(CONFIG, newer_s=1e9) > 0, "it was due once"


def test_a_lost_target_is_asked_for_again_once_and_then_waits_for_its_period():
    agenda = Agenda()
    agenda.admit(question("w", Mode.WATCH), CONFIG.query)
    watched = agenda.begin_waiting()
    agenda.end_running(turn(watched, Status.LOST), CONFIG)
    assert agenda.due_s(CONFIG, newer_s=1e9) < 0
    agenda.begin_standing(CONFIG, 0.0)
    assert not agenda.end_running(turn(watched, Status.LOST), CONFIG).is_last
    assert agenda.due_s(CONFIG, newer_s=1e9) > 0


def test_masks_do_not_put_off_a_question_that_is_due():
    agenda = Agenda()
    [watched] = standing(agenda, question("w", Mode.WATCH, asked_s=1e9))
    agenda.make_due([watched])  # its scene has changed
    agenda.settle_tracked(watched, outcome(watched.question, is_tracked=True), CONFIG)
    assert agenda.due_s(CONFIG, newer_s=1e9) < 0


def test_a_turn_without_an_image_leaves_the_scene_to_compare_with():
    agenda = Agenda()
    [watched] = standing(agenda, question("w", Mode.WATCH))
    assert agenda.scenes() == {}
    scene = np.zeros((24, 32), np.float32)
    for one in (Turn(outcome(watched.question), thumbnail=scene), turn(watched)):
        assert agenda.begin_standing(CONFIG, newer_s=0.0) is watched
        agenda.end_running(one, CONFIG)
        assert agenda.scenes() == {watched: scene}


def test_a_model_that_was_stopped_keeps_its_thought_and_learns_why():
    agenda = Agenda()
    agenda.admit(question("runs"), CONFIG.query)
    runs = agenda.begin_waiting()
    agenda.drop_all("the node was deactivated")
    stopped = NoSegmentation(Answer(Status.CANCELLED, "so far", error="cancelled while thinking"))
    ended = agenda.end_running(Turn(Outcome(runs.question, stopped, 1.0)), CONFIG)
    assert (ended.answer.status, ended.answer.thought) == (Status.CANCELLED, "so far")
    assert ended.answer.error == "the node was deactivated: cancelled while thinking"


def test_what_is_dropped_ends_as_cancelled_whatever_came_of_it():
    agenda = Agenda()
    agenda.admit(question("runs"), CONFIG.query)
    runs = agenda.begin_waiting()
    agenda.admit(question("waits"), CONFIG.query)
    assert [one.question.query.query_id for one in agenda.drop_all("cleared")] == ["waits"]
    assert agenda.running is runs
    ended = agenda.end_running(turn(runs), CONFIG)
    assert (ended.answer.status, ended.answer.error, ended.is_last) == (Status.CANCELLED, "cleared", True)
    assert not agenda.drop(runs, "again")

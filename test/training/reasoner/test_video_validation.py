"""Both rounds judged: with an asker that says what it is reported to."""

import pytest

from reasonseg_ros.training.reasoner.examples import boxes_and_points
from reasonseg_ros.training.reasoner.images import view
from reasonseg_ros.training.reasoner.video_validation import (
    NOTHING,
    VideoQuestion,
    ask,
    draw_video_questions,
    video_summary,
)
from reasonseg_ros.training.rendered.videos import VideoFiles
from reasonseg_ros.types import Status


class Teller:
    def __init__(self, first, second_id):
        self.first, self.second_id, self.asked = first, second_id, []

    def said(self, chats, rgbs, batch):
        assert all(len(row) == 6 for row in rgbs)
        return [self.first] * len(chats)

    def texts(self, pairs):
        reported = []
        for scene, question in pairs:
            self.asked.append(question.text)
            item = boxes_and_points(scene, type(question)("", "", (), (self.second_id,)))[0]
            reported.append('<answer>[{"bbox_2d":[%d,%d,%d,%d],"point_2d":[%d,%d]}]</answer>' % item)  # noqa: UP031
        return reported


def chosen(number, words):
    return f'<think>x</think><answer>[{{"frame_idx":{number},"object description":"{words}"}}]</answer>'


@pytest.fixture
def files(video_folder):
    return VideoFiles(video_folder)


def words_of(files, instance_id):
    target = next(o for o in view(files[0].scenes[0]).objects if o.instance_id == instance_id)
    return f"the {target.color} {target.category}"


def test_the_right_object_in_a_frame_that_shows_it_is_right(files):
    words = words_of(files, 2)
    teller = Teller(chosen(4, words), 2)
    outcome = ask(teller, [VideoQuestion(files[0], "pushed", "what was pushed?", 2)])[0]
    assert (outcome.usable, outcome.named, outcome.right) == (True, True, True)
    assert teller.asked == [words]


def test_another_object_or_a_frame_without_it_is_wrong(files):
    pushed = VideoQuestion(files[0], "pushed", "what was pushed?", 2)
    assert not ask(Teller(chosen(4, words_of(files, 3)), 3), [pushed])[0].right
    # Object 5 is hidden from frame 4 on.
    hidden = VideoQuestion(files[0], "hidden", "what is hidden?", 5)
    late = ask(Teller(chosen(5, words_of(files, 5)), 3), [hidden])[0]
    assert (late.usable, late.named, late.right) == (False, True, False)
    nothing = ask(Teller("<think>x</think><answer>[]</answer>", 3), [hidden, pushed])
    assert [o.keyframe.status for o in nothing] == [Status.NO_TARGET] * 2
    assert video_summary(nothing)["false_nothing"] == 1 and video_summary(nothing)["right"] == 0


def test_nothing_is_right_where_nothing_happened(files):
    asked = VideoQuestion(files[0], NOTHING, "what rolled?", 0)
    assert ask(Teller("<think>x</think><answer>[]</answer>", 3), [asked])[0].right
    assert not ask(Teller(chosen(1, "the mug"), 3), [asked])[0].right


def test_questions_are_drawn_from_each_video_at_most_once(files):
    questions = draw_video_questions(files, 10, "unseen", 1)
    assert len({question.video.seed for question in questions}) == len(questions) == 4
    assert [len(draw_video_questions(files, count, "train", 1)) for count in (1, 2, 3)] == [1, 2, 3]

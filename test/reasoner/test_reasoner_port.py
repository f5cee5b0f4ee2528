"""The contract of all reasoners, wherever their model runs and whatever it says."""

import json
import threading
from http.server import BaseHTTPRequestHandler
from itertools import pairwise

import numpy as np
import pytest

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.abilities import Ability, Exploration
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.reasoner.server.reasoner import ServerReasoner
from reasonseg_ros.types import Answer, Frame, Status
from test.examples.loading import example
from test.loopback import serving
from test.ports import check_members

TEXT = '<think>it is red</think> <answer>[{"bbox_2d":[84,84,420,420],"point_2d":[200,200]}]</answer>'
QUESTION = "What is red?"
WHAT_NO_MODEL_SAYS = (Status.REFUSED, Status.NO_FRAME, Status.LOST, Status.EMPTY_MASK)


class Server(BaseHTTPRequestHandler):
    """Streams TEXT, whatever it is asked."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in [*TEXT.split(" "), None]:
            choice = {
                "index": 0, "delta": {"content": f"{word} "} if word else {}, "finish_reason": None if word else "stop",
            }  # fmt: skip
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def port_number():
    with serving(Server, handle_error=lambda *_: None) as server:  # the client hangs up when it is cancelled
        yield server.server_port


@pytest.fixture(scope="module", params=["scripted", "local", "onnxruntime", "server", "example"])
def reasoner(request, checkpoint):
    if request.param == "scripted":
        return ScriptedReasoner([TEXT])
    if request.param == "local":
        return load_reasoner(ReasonerConfig(model=str(checkpoint), device="cpu", threads=1))
    if request.param == "onnxruntime":
        return load_reasoner(ReasonerConfig(backend="onnxruntime"))
    if request.param == "server":
        url = f"http://127.0.0.1:{request.getfixturevalue('port_number')}/v1"
        config = ReasonerConfig(backend="server", server_url=url, server_retries=0)
        return ServerReasoner(load_card("vision-reasoner-7b", "reasoner"), config)
    return example("03_write_your_own_reasoner").ColorReasoner()


@pytest.fixture
def frames():
    rgb = np.full((480, 640, 3), 200, np.uint8)
    rgb[100:300, 100:400] = (220, 20, 20)
    return [Frame(rgb, stamp_ns) for stamp_ns in (1, 2, 3)]


def check(answer, frame, name):
    assert isinstance(answer, Answer) and answer.status not in WHAT_NO_MODEL_SAYS
    assert (answer.model, answer.tokens >= 0) == (name, True)
    assert bool(answer.groundings) == (answer.status is Status.OK)
    if answer.status not in (Status.OK, Status.NO_TARGET):
        assert answer.error
    for grounding in answer.groundings:
        assert (grounding.box_xyxy >= 0).all() and (grounding.box_xyxy <= [*frame.size_wh, *frame.size_wh]).all()


def test_it_has_the_members_of_the_port(reasoner):
    check_members(Reasoner, reasoner)
    assert reasoner.name and reasoner.frames >= 1 and isinstance(reasoner.has_batches, bool)


def test_an_answer_is_of_its_frame_and_names_the_model(reasoner, frames):
    before = frames[0].rgb.copy()
    check(reasoner.answer(frames[0], QUESTION), frames[0], reasoner.name)
    np.testing.assert_array_equal(frames[0].rgb, before)


def test_the_same_question_has_the_same_answer(reasoner, frames):
    one, again = (reasoner.answer(frames[0], QUESTION) for _ in range(2))
    assert (one.status, one.raw_text, one.thought) == (again.status, again.raw_text, again.thought)
    for first, second in zip(one.groundings, again.groundings, strict=True):
        np.testing.assert_array_equal(first.box_xyxy, second.box_xyxy)


def test_progress_grows_and_comes_from_the_thread_that_answers(reasoner, frames):
    heard = []
    call = Call(on_text=lambda text, tokens: heard.append((text, tokens, threading.get_ident())))
    answer = reasoner.answer(frames[0], QUESTION, call)
    assert heard and {thread for _, _, thread in heard} == {threading.get_ident()}
    tokens = [count for _, count, _ in heard]
    assert tokens == sorted(tokens) and tokens[-1] <= answer.tokens
    assert all(later.startswith(text) for (text, _, _), (later, _, _) in pairwise(heard))


def test_a_cancelled_question_ends_as_cancelled(reasoner, frames):
    cancelled = Call(cancelled=lambda: True)
    answer = reasoner.answer(frames[0], QUESTION, cancelled)
    keyframe = reasoner.choose(frames, QUESTION, cancelled)
    assert (answer.status, keyframe.status) == (Status.CANCELLED, Status.CANCELLED)
    assert answer.error and keyframe.error and not answer.groundings and keyframe.index == -1


def test_a_keyframe_is_one_of_the_frames_or_has_a_reason(reasoner, frames):
    keyframe = reasoner.choose(frames, QUESTION)
    if keyframe.status is Status.OK:
        assert 0 <= keyframe.index < len(frames)
    else:
        assert keyframe.index == -1 and keyframe.error


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_batch_has_an_answer_for_each_frame_with_its_text(reasoner, frames, count):
    answers = reasoner.answer_batch(frames[:count], [QUESTION] * count)
    assert len(answers) == count
    for frame, answer in zip(frames, answers, strict=False):
        check(answer, frame, reasoner.name)


def test_a_batch_needs_a_text_for_each_frame(reasoner, frames):
    with pytest.raises(ValueError, match="argument"):
        reasoner.answer_batch(frames, [QUESTION])


def test_preparing_changes_no_answer(reasoner, frames):
    before = reasoner.answer(frames[0], QUESTION)
    assert reasoner.prepare(frames[0]) is None
    after = reasoner.answer(frames[0], QUESTION)
    assert (before.status, before.raw_text) == (after.status, after.raw_text)


def test_exploring_for_nothing_is_the_answer(reasoner, frames):
    explored = reasoner.explore(frames[0], QUESTION, Exploration())
    answer = reasoner.answer(frames[0], QUESTION)
    assert (explored.answer.status, explored.answer.raw_text) == (answer.status, answer.raw_text)
    assert (explored.samples, explored.attention) == ((), None)


def test_what_is_wanted_is_given_or_refused(reasoner, frames):
    for wanted in (Exploration(samples=3, temperature=2.0), Exploration(attention=True)):
        if wanted.needs - reasoner.abilities:
            with pytest.raises(ConfigError, match=f"{reasoner.name} gives no {next(iter(wanted.needs))}"):
                reasoner.explore(frames[0], QUESTION, wanted)
            continue
        explored = reasoner.explore(frames[0], QUESTION, wanted)
        check(explored.answer, frames[0], reasoner.name)
        assert len(explored.samples) == wanted.samples
        for sample in explored.samples:
            check(sample, frames[0], reasoner.name)
        if wanted.attention:
            rows, columns = explored.attention.shape
            assert rows * columns > 1 and explored.attention.dtype == np.float32
            assert np.isfinite(explored.attention).all() and (explored.attention >= 0).all()


def test_a_reply_has_words_or_a_reason_or_is_refused(reasoner, frames):
    if Ability.REPLIES not in reasoner.abilities:
        with pytest.raises(ConfigError, match="gives no replies"):
            reasoner.reply([frames[0].rgb], "what do you see?")
        return
    images = [frames[0].rgb, frames[0].rgb[:200, :300].copy()]
    reply = reasoner.reply(images, "what do you see?")
    assert reply.status is Status.OK or reply.error
    assert reasoner.reply(images, "what do you see?", Call(max_new_tokens=1)).is_cut == (reply.status is Status.OK)
    without_images = reasoner.reply([], "what do you see?")
    assert (without_images.status, without_images.error) == (reply.status, reply.error)
    cancelled = reasoner.reply(images, "what do you see?", Call(cancelled=lambda: True))
    assert (cancelled.status, cancelled.text, bool(cancelled.error)) == (Status.CANCELLED, "", True)


# The example is not among them: it answers at once.
@pytest.mark.parametrize("reasoner", ["scripted", "local", "server"], indirect=True, scope="module")
def test_the_time_limit_holds_and_is_reported(reasoner, frames):
    answer = reasoner.answer(frames[0], QUESTION, Call(time_limit_s=1e-6))
    assert (answer.status, "raise the time limit" in answer.error) == (Status.TIMEOUT, True)
    assert reasoner.choose(frames, QUESTION, Call(time_limit_s=1e-6)).status is Status.TIMEOUT

"""Requests and answers of the server reasoner, on a small server on the loopback."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pytest
from completing_server import BOX, TEXT, Handler, reasoner_for, refuse, say_all

from reasonseg_ros.errors import ConfigError
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.types import Frame, Status


def test_an_answer_streams_in(server: Any, frame: Frame) -> None:
    heard: list[str] = []
    call = Call(on_text=lambda text, _: heard.append(text))
    answer = reasoner_for(server.server_port).answer(frame, "What is red?", call)
    assert answer.status is Status.OK, answer.error
    np.testing.assert_allclose(answer.groundings[0].box_xyxy, [64, 48, 320, 240], atol=1e-3)
    assert (answer.raw_text, answer.thought, answer.model) == (TEXT, "it is red", "vision-reasoner-7b")
    assert heard[0] == "<think>it"
    assert heard[-1] == TEXT
    assert answer.tokens == len(heard)


@pytest.mark.parametrize(
    ("model", "prompt_tokens", "is_noted"),
    [
        ("vision-reasoner-7b", 899, True),  # 840 x 840 pixels are 30 x 30 tokens
        ("vision-reasoner-7b", 900, False),
        ("vision-reasoner-7b", 0, False),
        ("qwen2.5-vl-3b", 120, True),
        ("qwen3-vl-8b", 120, False),  # its coordinates do not depend on the size
    ],
)
def test_a_server_that_counts_fewer_tokens_than_the_image_has_is_noted(
    server: Any, frame: Frame, model: str, prompt_tokens: int, is_noted: bool
) -> None:
    def counting(handler: Handler) -> None:
        handler.start()
        handler.say(BOX, "stop")
        handler.wfile.write(
            b'data: {"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":9}}\n\n' % prompt_tokens
        )
        handler.wfile.write(b"data: [DONE]\n\n")

    server.behaviour = counting
    answer = reasoner_for(server.server_port, model=model).answer(frame, "What is red?")
    assert answer.groundings and server.requests[0]["stream_options"] == {"include_usage": True}
    assert (f"counted {prompt_tokens} tokens" in answer.error and "check-server" in answer.error) is is_noted


def test_strict_reading_repairs_nothing(server: Any, frame: Frame) -> None:
    def without_tags(handler: Handler) -> None:
        handler.start()
        handler.say('It is red: [{"bbox_2d":[84,84,420,420],"point_2d":[200,200]}]', "stop")
        handler.wfile.write(b"data: [DONE]\n\n")

    server.behaviour = without_tags
    found = [reasoner_for(server.server_port, strict=strict).answer(frame, "red?") for strict in (False, True)]
    assert [answer.status for answer in found] == [Status.OK, Status.UNPARSABLE]


def test_the_request_is_greedy_and_holds_the_squashed_image(server: Any, frame: Frame) -> None:
    reasoner_for(server.server_port).answer(frame, "What is red?", Call(max_new_tokens=77))
    request = server.requests[0]
    assert (request["model"], request["temperature"]) == ("Ricky06662/VisionReasoner-7B", 0)
    assert (request["max_tokens"], request["stream"]) == (77, True)
    image, words = request["messages"][1]["content"]
    assert '"what is red"' in words["text"]
    png = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    sent = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert sent.shape == (840, 840, 3)
    assert abs(float(sent.mean()) - float(frame.rgb.mean())) < 1


@pytest.mark.parametrize(
    ("model", "server_model", "expected"),
    [
        ("qwen3-vl-8b", "", "Qwen/Qwen3-VL-8B-Instruct"),
        ("tabletop-reasoner", "", "tabletop-reasoner"),  # its source is a folder
        ("tabletop-reasoner", "robots/small", "robots/small"),
    ],
)
def test_the_server_is_asked_for_the_model_by_its_name_there(
    server: Any, frame: Frame, model: str, server_model: str, expected: str
) -> None:
    reasoner_for(server.server_port, model=model, server_model=server_model).answer(frame, "what is red")
    assert server.requests[0]["model"] == expected


# As vLLM 0.32 and llama.cpp's router list them.
VLLM_LIST = (
    b'{"object":"list","data":[{"id":"cup finder","object":"model","owned_by":"vllm"},{"id":"a","object":"model"}]}'
)


@pytest.mark.parametrize("status", [400, 404])
def test_a_name_that_is_not_served_is_answered_with_those_that_are(server: Any, frame: Frame, status: int) -> None:
    server.behaviour, server.models = refuse(status), VLLM_LIST
    answer = reasoner_for(server.server_port).answer(frame, "what is red")
    assert answer.status is Status.UNAVAILABLE
    assert (
        "it does not serve 'Ricky06662/VisionReasoner-7B' but cup finder, a: set reasoner.server_model" in answer.error
    )
    assert server.asked == [("/v1/models", None)]


@pytest.mark.parametrize(
    "models",
    [
        VLLM_LIST.replace(b"cup finder", b"Ricky06662/VisionReasoner-7B"),  # it is served, so that is not the fault
        b"", b"no JSON", b"[]", b'{"data": 3}', b'{"data": [3, {"id": 4}]}',
    ],
)  # fmt: skip
def test_without_other_names_the_refusal_is_said_alone(server: Any, frame: Frame, models: bytes) -> None:
    server.behaviour, server.models = refuse(404), models
    answer = reasoner_for(server.server_port).answer(frame, "what is red")
    assert "the model is not here" in answer.error
    assert "does not serve" not in answer.error


def test_names_are_asked_for_with_the_key_and_shown_without(
    server: Any, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_KEY", "secret-1234")
    server.behaviour, server.models = refuse(404), b'{"data":[{"id":"leaks secret-1234"}]}'
    answer = reasoner_for(server.server_port, server_key_variable="SERVER_KEY").answer(frame, "what is red")
    assert server.asked == [("/v1/models", "Bearer secret-1234")]
    assert "leaks ***" in answer.error
    assert "secret-1234" not in answer.error


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(
    ("said", "content", "finish", "status", "thought"),
    [
        ("the left one", BOX, "stop", Status.OK, "the left one"),
        ("the left one", "<answer>[]</answer>", "stop", Status.NO_TARGET, "the left one"),
        ("There is no mug in the image.", BOX, "stop", Status.CONTRADICTION, "There is no mug in the image."),
        ("There is no mug in the image.", "", "stop", Status.NO_TARGET, "There is no mug in the image."),
        (f"<think>the left one</think>{BOX}", "", "stop", Status.OK, "the left one"),
        ("the left one", "", "stop", Status.UNPARSABLE, "the left one"),
        ("the left one or", "", "length", Status.TRUNCATED, "the left one or"),
        ("There is no mug yet, but", "", "length", Status.TRUNCATED, "There is no mug yet, but"),
    ],
)
def test_a_thought_that_is_sent_apart_counts(
    server: Any, frame: Frame, key: str, said: str, content: str, finish: str, status: Status, thought: str
) -> None:
    server.behaviour = say_all(*({key: f"{word} "} for word in said.split()), {"content": content}, finish=finish)
    heard: list[str] = []
    answer = reasoner_for(server.server_port).answer(frame, "mug", Call(on_text=lambda text, _: heard.append(text)))
    assert (answer.status, answer.thought) == (status, thought), answer.error
    assert len(heard) >= len(said.split()) and all(later.startswith("<think>") for later in heard)


@pytest.mark.parametrize("strict", [False, True])
def test_strict_reading_takes_a_thought_that_is_sent_apart(server: Any, frame: Frame, strict: bool) -> None:
    server.behaviour = say_all({"reasoning_content": "the left one\n"}, {"content": f"\n\n{BOX}"})
    answer = reasoner_for(server.server_port, strict=strict).answer(frame, "mug")
    assert (answer.status, answer.thought) == (Status.OK, "the left one"), answer.error


def test_a_refused_question_reaches_no_server(server: Any, frame: Frame) -> None:
    assert reasoner_for(server.server_port).answer(frame, "").status is Status.REFUSED
    assert server.requests == []


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOT_SERVER_KEY", "abc")
    assert reasoner_for(1, server_key_variable="ROBOT_SERVER_KEY").server.key == "abc"
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        reasoner_for(1, server_key_variable="NO_SUCH_VARIABLE")


def test_the_frames_of_a_video_go_with_their_numbers(server: Any, frame: Frame) -> None:
    def choose(handler: Handler) -> None:
        handler.start()
        handler.say('<think>it fell</think><answer>[{"frame_idx": 2, "object description": "the jar"}]</answer>')
        handler.say(None, "stop")
        handler.wfile.write(b"data: [DONE]\n\n")

    server.behaviour = choose
    reasoner = reasoner_for(server.server_port)
    keyframe = reasoner.choose([frame, frame], "What fell?")
    assert (keyframe.status, keyframe.index, keyframe.description) == (Status.OK, 1, "the jar")
    content = server.requests[0]["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "text", "image_url", "text"]
    assert content[2]["text"] == "Frame 2:" and "what fell" in content[4]["text"]
    png = base64.b64decode(content[1]["image_url"]["url"].partition(",")[2])
    assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape == (448, 448, 3)

    server.behaviour = refuse(500)
    away = reasoner.choose([frame, frame], "What fell?")
    assert away.status is Status.UNAVAILABLE and "HTTP 500" in away.error

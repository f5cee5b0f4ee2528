"""The key for a server: sent to that server only, and shown nowhere."""

from __future__ import annotations

import json

import pytest
from breaking_server import ANSWER, KEY, STREAM, Server, event, reasoner_for, respond, stream

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.server.reasoner import ServerReasoner
from reasonseg_ros.types import Frame, Status


def test_a_key_goes_to_no_other_server(server: Server, frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOT_KEY", KEY)
    other = Server()
    try:
        own = f"127.0.0.1:{server.port}/v1"
        others = [f"http://127.0.0.1:{other.port}/v1", f"//localhost:{server.port}/v1", "http://[::1", "file:///x"]
        for target in (*others, f"//me@{own}", f"https://{own}"):
            response = respond("307 Temporary", Location=target)
            server.behaviour = lambda wire, _, response=response: wire.sendall(response)  # type: ignore[misc]
            answer = reasoner_for(server, server_key_variable="ROBOT_KEY").answer(frame, "red")
            assert answer.status is Status.UNAVAILABLE and "another server" in answer.error, answer.error
            assert KEY not in answer.error
        assert other.requests == []
    finally:
        other.close()


@pytest.mark.parametrize(
    "body",
    [  # the key in every place that may be shown
        respond("401 No", f'{{"error": {{"message": "wrong key {KEY}"}}}}'),
        respond("401 No", f"wrong key {KEY}"),
        respond("401 No", "x" * 290 + KEY),
        respond("401 No", json.dumps({"error": "Authorization: Bearer " + KEY.upper()})),
        respond("401 No", json.dumps({"error": KEY}).replace("s", "\\u0073", 1)),
        respond("200 OK", f"<html>{KEY}</html>"),
        respond("200 OK", "data: {" + KEY + "\n\n", Content_Type="text/event-stream"),
        respond("200 OK", "{}", Content_Type=KEY),
        respond("200 OK", "{}", Content_Encoding=KEY),
        respond("307 No", "{}", Location=f"http://elsewhere/{KEY}"),
        f"HTTP/1.1 {KEY} OK\r\n\r\n".encode(),
        f"{KEY}\r\n\r\n".encode(),
        stream("<think>red", finish=KEY),
        stream(f"<think>the key is {KEY}</think>", ANSWER),
        stream("<think>the key is ", *KEY, "</think>", ANSWER),
        stream(ANSWER[:-9] + f', {{"bbox_2d": "{KEY}"}}]</answer>'),
        stream(f'<answer>[{{"bbox_2d":[84,84,420,420],"label":"{KEY}"}}]</answer>'),
        STREAM + b"\r\n" + b"".join(event({"reasoning": part}) for part in (KEY[:9], KEY[9:])) + stream(ANSWER),
    ],
    ids=range(18),
)
def test_a_key_that_a_server_echoes_is_masked(
    server: Server, frame: Frame, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOT_KEY", f" {KEY}\n")
    server.behaviour = lambda wire, _: wire.sendall(body)
    reasoner = reasoner_for(server, server_key_variable="ROBOT_KEY")
    heard: list[str] = []
    answer = reasoner.answer(frame, "red", Call(on_text=lambda text, _: heard.append(text)))
    assert f"Authorization: Bearer {KEY}\r\n" in server.requests[0]
    shown = " ".join([repr(answer), repr(reasoner.server), answer.error, answer.raw_text, *heard]).lower()
    assert KEY not in shown
    assert not any(text.lower().endswith(KEY[:size]) for text in heard for size in range(3, len(KEY)))


def test_a_placeholder_for_a_key_is_masked_in_refusals_only(
    server: Server, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOT_KEY", "EMPTY")
    reasoner = reasoner_for(server, server_key_variable="ROBOT_KEY")
    server.behaviour = lambda wire, _: wire.sendall(stream("<think>the EMPTY jar</think>", ANSWER[18:]))
    assert reasoner.answer(frame, "red").thought == "the EMPTY jar"
    server.behaviour = lambda wire, _: wire.sendall(respond("401 No", "wrong key EMPTY"))
    assert "wrong key ***" in reasoner.answer(frame, "red").error


def test_words_that_begin_like_the_key_are_not_lost(
    server: Server, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOT_KEY", "red-red-mug")
    server.behaviour = lambda wire, _: wire.sendall(stream("<think>a red-", "red-", "jar, then red-red-m"))
    heard: list[str] = []
    answer = reasoner_for(server, server_key_variable="ROBOT_KEY").answer(
        frame, "red", Call(on_text=lambda text, _: heard.append(text))
    )
    assert answer.thought == "a red-red-jar, then red-red-m"
    assert heard[-1] == "<think>a red-red-jar, then red-red-m"


def test_a_password_in_the_address_is_refused_without_repeating_it() -> None:
    config = ReasonerConfig(backend="server", server_url="http://robot:hunter2@host/v1")
    with pytest.raises(ConfigError, match=r"reasoner\.server_url") as caught:
        ServerReasoner(load_card("vision-reasoner-7b", "reasoner"), config)
    assert "hunter2" not in str(caught.value) and "server_key_variable" in str(caught.value)


@pytest.mark.parametrize("key", ["", " \n", "schlüssel", "two words", "a\nb", "a\x1bb"])
def test_a_key_that_cannot_be_sent_is_a_wrong_setting(
    server: Server, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOT_KEY", key)
    with pytest.raises(ConfigError, match=r"reasoner\.server_key_variable = 'ROBOT_KEY'") as caught:
        reasoner_for(server, server_key_variable="ROBOT_KEY")
    assert not key.strip() or key not in str(caught.value)

"""Bodies of servers, byte for byte, into text or a reason."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros.errors import ServerError
from reasonseg_ros.reasoner.server.completion import MOST_EVENT_BYTES, CompletionReader, joined, refusal_words

BOX = '[{"bbox_2d": [1, 2, 3, 4]}]'


def event(delta: Any = None, finish: Any = None, **other: Any) -> bytes:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **other}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
STOP = event(finish="stop") + DONE


def read(body: bytes, content_type: str = "text/event-stream", step: int = 7) -> tuple[str, str, CompletionReader]:
    """Content, thought and the reader, of a body that comes in pieces of `step` bytes."""
    reader = CompletionReader(content_type)
    pieces = [piece for at in range(0, len(body), step) for piece in reader.feed(body[at : at + step])]
    pieces += reader.close()
    return "".join(piece.content for piece in pieces), "".join(piece.thought for piece in pieces), reader


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_stream_reads_the_same_however_it_is_cut_up(step: int, line_end: bytes) -> None:
    body = b"\xef\xbb\xbf: hello\n\n" + event({"role": "assistant", "content": "é "}) + event({"content": BOX}) + STOP
    content, thought, reader = read(body.replace(b"\n", line_end), step=step)
    assert (content, thought, reader.finish, reader.ended) == ("é " + BOX, "", "stop", True)


@pytest.mark.parametrize(
    ("deltas", "content", "thought"),
    [
        ([{"reasoning_content": "red"}, {"content": BOX}], BOX, "red"),
        ([{"reasoning": "red"}, {"content": BOX}], BOX, "red"),
        ([{"reasoning": "red", "reasoning_content": "red"}, {"content": BOX}], BOX, "red"),
        ([{"thinking": "red"}, {"content": BOX}], BOX, "red"),
        ([{"reasoning_content": None, "content": BOX}], BOX, ""),
        ([{"content": [{"type": "text", "text": BOX}]}], BOX, ""),
        ([{"content": [{"type": "output_text", "text": BOX}, "."]}], BOX + ".", ""),
        ([{"content": [{"type": "thinking", "thinking": [{"text": "red"}]}, {"text": BOX}]}], BOX, "red"),
        ([{"content": ""}, {"content": []}, None, {"content": BOX, "tool_calls": []}], BOX, ""),
    ],
)
def test_thoughts_and_parts_are_understood(deltas: list[Any], content: str, thought: str) -> None:
    assert read(b"".join(map(event, deltas)) + STOP)[:2] == (content, thought)
    messages = [delta for delta in deltas if delta]
    if len(messages) == 1:
        whole = {"choices": [{"message": messages[0], "finish_reason": "stop"}]}
        assert read(json.dumps(whole).encode(), "application/json")[:2] == (content, thought)


@pytest.mark.parametrize(
    "extra",
    [
        b"data:\n\n",
        b": keep-alive\n\n",
        b"event: ping\ndata: {}\n\n",
        b'data: {"choices": null}\n\n',
        b'data: {"choices": [], "usage": {"completion_tokens": 57}}\n\n',
        b'data: {"choices": [{"index": 1, "delta": {"content": "another answer"}}]}\n\n',
        b'data: {"choices": [{"delta": null, "finish_reason": null}], "error": null}\n\n',
        b'data: {"type": "ping"}\n\n',
        b'data: {"id": "1", "usage": {"completion_tokens": 57}, "timings": {"predicted_ms": 12.5}}\n\n',
        b"retry: 3000\nid: 5\nunknown: x\n\n",
    ],
)
def test_what_is_no_text_in_a_stream_is_passed_over(extra: bytes) -> None:
    assert read(extra + event({"content": "a"}) + extra + event({"content": "b"}) + extra + STOP)[0] == "ab"


def test_the_server_counts_its_tokens_itself() -> None:
    assert read(event({"content": "a"}, usage={"completion_tokens": 57}) + STOP)[2].tokens == 57
    for count in (None, -1, 1.5, True, "7", 1 << 40):
        assert read(event({"content": "a"}, usage={"completion_tokens": count}) + STOP)[2].tokens == 0
        assert read(event({"content": "a"}, usage={"prompt_tokens": count}) + STOP)[2].prompt_tokens == 0


def test_counts_that_come_after_the_finish_reason_are_read() -> None:
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 1200, "completion_tokens": 57}}\n\n'
    reader = read(event({"content": "a"}) + event(finish="stop") + usage + DONE)[2]
    assert (reader.prompt_tokens, reader.tokens) == (1200, 57)


@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain", ""])
def test_a_stream_is_known_by_its_first_bytes_under_any_type(kind: str) -> None:
    assert read(b"\n\n" + event({"content": "a"}) + STOP, kind)[0] == "a"
    with pytest.raises(ServerError, match="no such model"):
        read(b'{"error": {"message": "no such model"}}', kind)


@pytest.mark.parametrize("finish", ["stop", "eos_token", "stop_sequence"])
def test_an_answer_may_end_without_done(finish: str) -> None:
    content, _, reader = read(event({"content": BOX}) + event(finish=finish))
    assert content == BOX and not reader.is_cut


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
def test_the_token_limit_cuts(finish: str) -> None:
    assert read(event({"content": BOX}, finish) + DONE)[2].is_cut


def test_the_text_of_a_server_that_completes_texts_is_read() -> None:
    choice = {"choices": [{"index": 0, "text": BOX, "finish_reason": "stop"}]}
    assert read(json.dumps(choice).encode(), "application/json")[0] == BOX
    assert read(b"data: " + json.dumps(choice).encode() + b"\n\n" + DONE)[0] == BOX


WORDS = "the GPU fell over"


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"", "without a finish reason"),
        (event(finish="content_filter") + DONE, "'content_filter'"),
        (event(finish="abort"), "'abort'"),
        (event(finish="tool_calls") + DONE, "'tool_calls'"),
        (event({"tool_calls": [{"function": {"name": "detect"}}]}), "called a tool"),
        (event({"function_call": {"name": "detect"}}), "called a tool"),
        (event({"refusal": "I would "}) + event({"refusal": "rather not"}) + STOP, "I would rather not"),
        (event(finish=7), "no completion"),
        (b'data: {"error": {"message": "%s", "code": 500}}\n\n' % WORDS.encode(), WORDS),
        (b'data: {"error": "%s"}\n\n' % WORDS.encode(), WORDS),
        (b'data: {"error": {"code": 5}}\n\n', '"code": 5'),
        (b'data: {"error": [1]}\n\n', "[1]"),
        (b'data: {"object": "error", "message": "%s"}\n\n' % WORDS.encode(), WORDS),
        (b'event: error\ndata: {"message": "%s"}\n\n' % WORDS.encode(), WORDS),
        (b"event: error\ndata: %s\n\n" % WORDS.encode(), WORDS),
        (b'error: {"code": 400, "message": "%s"}\n\n' % WORDS.encode(), WORDS),
        (b'data: {"text": "%s", "error_code": 50002}\n\n' % WORDS.encode() + DONE, WORDS),
        (b'data: {"code": 500, "message": "%s"}\n\n' % WORDS.encode() + DONE, WORDS),
        (b'data: {"type": "error", "message": "%s"}\n\n' % WORDS.encode() + DONE, WORDS),
        (b'data: {"detail": "%s"}\n\n' % WORDS.encode() + STOP, WORDS),
        (b'data: {"errors": [{"message": "%s"}]}\n\n' % WORDS.encode() + DONE, WORDS),
        (event(finish="stop") + b'data: {"error": {"message": "%s"}}\n\n' % WORDS.encode(), WORDS),
        (b"data: {not json\n\n", "{not json"),
        (b"data: \xff\xfe\n\n", "no JSON"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "nested too deeply"),
        (b"data: [1, 2]\n\n", "no completion: [1, 2]"),
        (b"data: null\n\n", "no completion: null"),
        (b'data: {"choices": "x"}\n\n', "no completion"),
        (b'data: {"choices": ["x"]}\n\n', "no completion"),
        (event("text"), "no completion"),
        (event({"content": 5}), "type int"),
        (event({"content": {"text": "a"}}), "type dict"),
        (event({"content": [{"type": "image_url", "image_url": {}}]}), "'image_url'"),
        (event({"content": [[1]]}), "expected text"),
        (event({"reasoning": 1.5}), "type float"),
        (b"data: " + b"x" * (MOST_EVENT_BYTES + 9), "without an end"),
        (b"data: x\n" * (MOST_EVENT_BYTES // 2 + 9), "without an end"),
        (b"data:\n" * (MOST_EVENT_BYTES + 9), "without an end"),
    ],
)
def test_what_is_no_answer_says_why(tail: bytes, reason: str) -> None:
    with pytest.raises(ServerError) as caught:
        read(event({"content": "<think>it is"}) + tail, step=4096)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"", "text/event-stream", "answered nothing"),
        (b"\n\n", "application/json", "answered nothing"),
        (DONE, "text/event-stream", "answered nothing"),
        (b'data: {"choices": [{"index": 1, "delta": {"content": "a"}}]}\n\n' + DONE, "", "answered nothing"),
        (b"<html>It works!</html>", "text/html", "(text/html: <html>It works!</html>)"),
        (b"<html>It works!</html>", "text/event-stream", "answered nothing"),
        (b'{"object": "list", "data": []}', "application/json", "something other than completions"),
        (b'"hello"', "application/json", "no completion"),
        (b'{"choices": [{"message": {"content": "a', "application/json", "something other"),
        (b'{"detail": "Not Found"}', "application/json", "Not Found"),
    ],
)
def test_a_body_without_a_completion_says_why(body: bytes, kind: str, reason: str) -> None:
    with pytest.raises(ServerError) as caught:
        read(body, kind)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ""),
        (b'{"error": {"message": "too long"}}', "too long"),
        (b'{"error": "too long"}', "too long"),
        (b'{"object": "error", "message": "too long", "code": 400}', "too long"),
        (b'{"message": "too long"}', "too long"),
        (b'{"detail": [{"msg": "too long"}]}', '[{"msg": "too long"}]'),
        (b"<html><h1>413</h1>\n <p>too  long</p></html>", "413 too long"),
        (b"too long", "too long"),
        (b"[" * 100_000, "[" * 296 + " ..."),
        (b'[NaN, "\\ud800"]', '[NaN, "\\ud800"]'),
    ],
)
def test_the_words_of_a_refusal(body: bytes, words: str) -> None:
    assert refusal_words(body) == words


@pytest.mark.parametrize(
    ("thought", "content", "is_cut", "text"),
    [
        ("", BOX, False, BOX),
        (" \n", BOX, False, BOX),
        ("red", BOX, False, f"<think>red</think>{BOX}"),
        ("red ", f"\n\n{BOX}", True, f"<think>red</think>{BOX}"),
        ("<think>red</think>", f"<answer>{BOX}</answer>", False, f"<think>red</think><answer>{BOX}</answer>"),
        ("red <answer>[]</answer>", BOX, False, f"<think>red []</think>{BOX}"),
        (f"<think>red</think><answer>{BOX}</answer>", "", False, f"<think>red</think><answer>{BOX}</answer>"),
        ("red", "\n", False, "red"),
        ("red", "", True, "<think>red"),
        (f"red</think>{BOX[:-1]}", "", True, f"red</think>{BOX[:-1]}"),
    ],
)
def test_a_thought_sent_apart_comes_before_the_answer(thought: str, content: str, is_cut: bool, text: str) -> None:
    assert joined(thought, content, is_cut) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "delta", "message", "content", "text", "type", "error", "usage", "reasoning",
                         "finish_reason", "index", "completion_tokens", "refusal", "tool_calls", "object", "detail"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(JSON, max_size=4), st.binary(max_size=60), st.integers(1, 40), st.booleans())
def test_no_body_ends_in_anything_but_text_or_a_reason(
    values: list[Any], tail: bytes, step: int, is_stream: bool
) -> None:
    events = [{"choices": [{"delta": value, "finish_reason": None}]} for value in values] + values
    lines = [json.dumps(value).encode() for value in events]
    body = b"".join(b"data: %s\n\n" % line for line in lines) if is_stream else b"".join(lines)
    with contextlib.suppress(ServerError):
        content, thought, reader = read(body + tail, "text/event-stream" if is_stream else "", step)
        assert isinstance(content, str) and isinstance(thought, str) and (reader.finish or reader.ended)
    assert "\n" not in refusal_words(body + tail)

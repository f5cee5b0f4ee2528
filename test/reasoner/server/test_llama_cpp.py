"""What llama.cpp's server says, as recorded of xllamacpp 2026.10 with the embedded weights in three rotary sections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from completing_server import Handler, reasoner_for

from reasonseg_ros.types import Frame, Status

STREAM = Path(__file__).with_name("llama_cpp.sse").read_bytes()
TEXT = "<think>the blue banana: yellow banana left back. nothing fits.</think><answer>[]</answer>"
LOCAL_NATS = 0.46112660295875685
"""The thought's entropy of the same weights and question on torch in float32, over the whole vocabulary."""
MODELS = (
    b'{"models":[{"name":"text.gguf","model":"text.gguf","type":"model","capabilities":["completion","multimodal"]}],'
    b'"object":"list","data":[{"id":"text.gguf","aliases":["text.gguf"],"object":"model","owned_by":"llamacpp"}]}'
)
TOO_LONG = (
    b'{"error":{"code":400,"message":"request (375 tokens) exceeds the available context size (256 tokens), try '
    b'increasing it","type":"exceed_context_size_error","n_prompt_tokens":375,"n_ctx":256}}'
)


def refusing(status: int, body: bytes) -> Any:
    def behave(handler: Handler) -> None:
        handler.start(status, "application/json; charset=utf-8")
        handler.wfile.write(body)

    return behave


def test_its_stream_gives_the_answer_and_the_entropy_of_the_local_model(server: Any, frame: Frame) -> None:
    def behave(handler: Handler) -> None:
        handler.start()
        handler.wfile.write(STREAM)

    server.behaviour = behave
    answer = reasoner_for(server.server_port, model="tabletop-reasoner").answer(frame, "the blue banana")
    assert (answer.status, answer.raw_text, answer.no_entropy) == (Status.NO_TARGET, TEXT, "")
    assert answer.entropy_nats == pytest.approx(LOCAL_NATS, rel=0.005)
    assert answer.entropy_nats is not None and answer.entropy_nats <= LOCAL_NATS  # a lower bound


# The second is vLLM's.
@pytest.mark.parametrize(
    "body", [TOO_LONG, b'{"error":{"message":"This model\'s maximum context length is 2048 tokens.","code":400}}']
)
def test_a_question_that_is_too_long_is_not_taken_for_a_wrong_name(server: Any, frame: Frame, body: bytes) -> None:
    server.behaviour, server.models = refusing(400, body), MODELS
    answer = reasoner_for(server.server_port, model="tabletop-reasoner").answer(frame, "the blue banana")
    assert answer.status is Status.UNAVAILABLE
    assert "refused with HTTP 400" in answer.error and "context" in answer.error
    assert "server_model" not in answer.error
    assert not server.asked


@pytest.mark.parametrize("name", ["cups", "long-context"])
def test_a_name_that_its_router_does_not_know_is_answered_with_those_that_it_does(
    server: Any, frame: Frame, name: str
) -> None:
    body = f'{{"error":{{"code":400,"message":"model \'{name}\' not found"}}}}'.encode()
    server.behaviour, server.models = refusing(400, body), MODELS
    reasoner = reasoner_for(server.server_port, model="tabletop-reasoner", server_model=name)
    answer = reasoner.answer(frame, "the blue banana")
    assert f"it does not serve '{name}' but text.gguf" in answer.error


def test_a_server_without_its_vision_part_says_so(server: Any, frame: Frame) -> None:
    words = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
    server.behaviour = refusing(500, f'{{"error":{{"code":500,"message":"{words}","type":"server_error"}}}}'.encode())
    answer = reasoner_for(server.server_port, model="tabletop-reasoner").answer(frame, "the blue banana")
    assert answer.status is Status.UNAVAILABLE
    assert words in answer.error

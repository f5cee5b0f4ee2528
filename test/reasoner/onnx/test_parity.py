"""The ONNX Runtime backend against the torch backend: the same tokens, on random checkpoints and the embedded one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.engine.manifest import file_sha256
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.abilities import Exploration
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.limits import Limits
from reasonseg_ros.reasoner.loading import has_graphs, load_reasoner
from reasonseg_ros.types import Frame, Status

pytest.importorskip("torch")
pytest.importorskip("transformers")
QUESTIONS = ("what is red?", "the mug that holds coffee", "everything", "ein Becher, 컵, 杯子", "a" * 300)


def both(model: str, **values: Any) -> tuple[Any, Any]:
    torch_values = {name: value for name, value in values.items() if name != "kept_frames"}
    return (
        load_reasoner(ReasonerConfig(model=model, backend="local", device="cpu", dtype="float32", **torch_values)),
        load_reasoner(ReasonerConfig(model=model, backend="onnxruntime", **values)),
    )


@pytest.fixture(scope="module")
def pair(exported: Path) -> tuple[Any, Any]:
    return both(str(exported))


@pytest.fixture(scope="module")
def embedded() -> tuple[Any, Any]:
    return both("tabletop-reasoner")


def images(count: int) -> list[Any]:
    rng = np.random.default_rng(5)
    sizes = [(480, 640), (720, 1280), (97, 333)]
    return [Frame(rng.integers(0, 256, (*sizes[index % 3], 3), np.uint8), index + 1) for index in range(count)]


def says_the_same(pair: tuple[Any, Any], frame: Frame, question: str, tokens: int) -> str:
    expected, found = (one.say_about(frame, question, Limits(tokens, 600.0)) for one in pair)
    assert (found.text, found.tokens, found.cut) == (expected.text, expected.tokens, expected.cut)
    assert found.seen_wh == expected.seen_wh
    assert found.entropy_nats == pytest.approx(expected.entropy_nats, rel=1e-3, abs=1e-2)
    return str(found.text)


def test_random_checkpoints_say_the_same(pair: tuple[Any, Any]) -> None:
    """Two questions about each image, so that the second continues from the cache of the first."""
    texts = {
        says_the_same(pair, frame, question, 40) for frame in images(3) for question in (QUESTIONS[0], QUESTIONS[3])
    }
    assert len(texts) > 1


def test_memory_grows_with_a_long_prompt_and_a_long_answer(pair: tuple[Any, Any]) -> None:
    long = "the mug " * 60
    text = says_the_same(pair, images(1)[0], long, 300)
    assert len(text) > 100
    says_the_same(pair, images(1)[0], "what is red?", 20)


def test_several_images_in_one_chat(pair: tuple[Any, Any]) -> None:
    frames = images(4)
    expected, found = (one.choose(frames, "what fell?", Call(max_new_tokens=30)) for one in pair)
    assert (found.raw_text, found.tokens, found.status) == (expected.raw_text, expected.tokens, expected.status)


def test_the_embedded_reasoner_says_the_same(embedded: tuple[Any, Any]) -> None:
    for frame in images(2):
        for question in QUESTIONS:
            says_the_same(embedded, frame, question, 160)


@pytest.mark.parametrize("limits", [(0, 0), (3136, 12544), (50176, 401408)])
def test_images_of_any_size_are_seen_as_the_processor_resizes_them(
    exported: Path, tmp_path: Path, limits: tuple[int, int]
) -> None:
    folder = tmp_path / "any-size"
    shutil.copytree(exported, folder)
    card = (folder / "card.yaml").read_text()
    (folder / "card.yaml").write_text(card.replace("[224, 168]", "null\ncoordinates: resized"))
    pair = both(str(folder), min_pixels=limits[0], max_pixels=limits[1])
    for frame in images(3):
        says_the_same(pair, frame, "what is red?", 24)


def test_prepared_images_and_questions_one_after_the_other(embedded: tuple[Any, Any]) -> None:
    _, found = embedded
    frame = images(3)[2]
    fresh = load_reasoner(ReasonerConfig(backend="onnxruntime", kept_frames=0))
    found.prepare(frame)
    for question in (*QUESTIONS, *QUESTIONS[:2]):
        limits = Limits(160, 600.0)
        assert found.say_about(frame, question, limits).text == fresh.say_about(frame, question, limits).text


def test_a_limit_stops_between_tokens(embedded: tuple[Any, Any]) -> None:
    _, found = embedded
    heard: list[int] = []
    call = Call(on_text=lambda text, tokens: heard.append(tokens), cancelled=lambda: len(heard) >= 3)
    answer = found.answer(images(1)[0], "the red mug", call)
    assert (answer.status, heard) == (Status.CANCELLED, [1, 2, 3])
    assert found.answer(images(1)[0], "the red mug", Call(max_new_tokens=4)).status is Status.TRUNCATED


def test_an_answer_ends_as_truncated_at_the_longest_sequence_of_the_checkpoint(exported: Path, tmp_path: Path) -> None:
    folder, room = tmp_path / "short", 5
    shutil.copytree(exported, folder)
    reasoner: Any = load_reasoner(ReasonerConfig(model=str(folder), backend="onnxruntime"))
    frame = images(1)[0]
    reasoner.answer(frame, "what is red?", Call(max_new_tokens=1))
    values = json.loads((folder / "graphs.json").read_text())
    values["text"]["longest"] = len(reasoner._text.kept().ids) + room
    (folder / "graphs.json").write_text(json.dumps(values))
    reasoner = load_reasoner(ReasonerConfig(model=str(folder), backend="onnxruntime"))
    answer = reasoner.answer(frame, "what is red?", Call(max_new_tokens=100))
    assert (answer.status, answer.tokens) == (Status.TRUNCATED, room)
    explored = reasoner.explore(frame, "what is red?", Exploration(samples=2), Call(max_new_tokens=100))
    assert (explored.answer.status, explored.answer.tokens) == (Status.TRUNCATED, room)
    assert [sample.tokens <= room for sample in explored.samples] == [True, True]


@pytest.mark.parametrize(
    ("gpus", "size", "device", "kind"),
    [
        ((), 10, "auto", True),
        (("a GPU",), 10, "auto", False),
        (("a GPU",), 10, "cpu", True),
        (("a GPU",), 10**9, "auto", True),
    ],
)
def test_auto_leaves_large_checkpoints_to_the_gpu(
    exported: Path, monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...], size: int, device: str, kind: bool
) -> None:
    monkeypatch.setattr("reasonseg_ros.reasoner.loading.gpus", lambda: gpus)
    monkeypatch.setattr("reasonseg_ros.reasoner.loading.SMALL_BYTES", size)
    card = load_card(str(exported), "reasoner")
    assert has_graphs(card, ReasonerConfig(model=str(exported), device=device)) is kind


@pytest.mark.parametrize(
    "left_by_training",
    [
        {"truncation": {"direction": "Right", "max_length": 140, "strategy": "LongestFirst", "stride": 0}},
        {"truncation": {"direction": "Left", "max_length": 30, "strategy": "LongestFirst", "stride": 0}},
        {"padding": {"strategy": {"Fixed": 400}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                     "pad_type_id": 0, "pad_token": "<|endoftext|>"}},
    ],
    ids=["cut", "cut below an image", "padded"],
)  # fmt: skip
def test_prompts_are_read_whole_whatever_a_training_left_in_the_tokenizer(
    tmp_path: Path, left_by_training: dict[str, Any]
) -> None:
    before, trained = tmp_path / "before", tmp_path / "trained"
    for folder in (before, trained):
        shutil.copytree(load_card("tabletop-reasoner", "reasoner").source, folder)
    values = json.loads((trained / "tokenizer.json").read_text())
    (trained / "tokenizer.json").write_text(json.dumps({**values, **left_by_training}))
    values = json.loads((trained / "graphs.json").read_text())
    values["files"]["tokenizer.json"] = file_sha256(trained / "tokenizer.json")
    (trained / "graphs.json").write_text(json.dumps(values))
    limits = Limits(160, 600.0)
    for expected, found in zip(both(str(before)), both(str(trained)), strict=True):
        said = [one.say_about(images(1)[0], "the red mug " * 30, limits) for one in (expected, found)]
        assert (said[1].text, said[1].tokens) == (said[0].text, said[0].tokens)

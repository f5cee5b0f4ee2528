import random

import numpy as np
import pytest

from reasonseg_ros.reasoner.dialects.strict import parse_strictly
from reasonseg_ros.tabletop.questions.question import KINDS, SceneQuestion, ThoughtPiece
from reasonseg_ros.training.reasoner.examples import IGNORED, ExampleEncoder, boxes_and_points, draw_question, pack
from reasonseg_ros.training.reasoner.images import dense_labels, view
from reasonseg_ros.training.reasoner.model import IMAGE_TOKENS, IMAGE_WH
from reasonseg_ros.training.reasoner.tokenizer import PAD
from reasonseg_ros.types import Status


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return ExampleEncoder(tokenizer)


@pytest.mark.parametrize("kind", KINDS)
def test_responses_are_in_the_dialect_and_name_the_targets(kind, encoder, tokenizer, make_scene):
    rng, seen = random.Random(kind), 0
    for seed in range(40):
        scene = view(make_scene(seed))
        question = draw_question(scene, rng, kind=kind)
        if question is None:
            continue
        seen += 1
        example = encoder.example(scene, dense_labels(scene), question)
        text = tokenizer.decode(example.response).removesuffix("<|im_end|>")
        answer = parse_strictly(text, IMAGE_WH, "vision_reasoner", IMAGE_WH)
        assert answer.status is (Status.OK if question.targets else Status.NO_TARGET)
        assert answer.thought == question.thought_text.strip()
        expected = boxes_and_points(scene, question)
        assert [tuple(map(int, g.box_xyxy)) for g in answer.groundings] == [item[:4] for item in expected]
        assert [tuple(map(int, g.points_xy[0])) for g in answer.groundings] == [item[4:] for item in expected]
    assert seen >= 5


def test_each_word_looks_at_what_it_is_about(encoder, tokenizer, make_scene):
    scene = view(make_scene(5))
    labels = dense_labels(scene)
    thought = (ThoughtPiece("look:", (1, 3)), ThoughtPiece(" first one,", (1,)), ThoughtPiece(" second one.", (3,)))
    example = encoder.example(scene, labels, SceneQuestion("several", "both", thought, (1, 3)))
    said = [tokenizer.decode([token]) for token in example.response]
    for piece, ids in (("look", (1, 3)), (" first", (1,)), (" second", (3,)), ('[{"bbox_2d":[', (1,)),
                       (']},{"bbox_2d":[', (3,)), ("]}]", (1, 3))):  # fmt: skip
        wanted = np.any([labels.tokens[i] for i in ids], axis=0)
        at = next(k for k in range(len(said)) if "".join(said[k:]).startswith(piece))
        assert not example.looks[at, 0]
        np.testing.assert_array_equal(example.looks[at, 1:], wanted)


def test_nothing_fits_looks_nowhere(encoder, make_scene):
    scene = view(make_scene(5))
    question = SceneQuestion("none", "a unicorn", (ThoughtPiece("no unicorn here.", ()),), ())
    looks = encoder.example(scene, dense_labels(scene), question).looks
    assert looks[:, 0].all() and not looks[:, 1:].any()


def test_packing_keeps_questions_apart(encoder, tokenizer, make_scene):
    scene = view(make_scene(5))
    labels = dense_labels(scene)
    questions = [SceneQuestion("none", f"thing {k}", (ThoughtPiece("no such thing here.", ()),), ()) for k in range(2)]
    first, second = (encoder.example(scene, labels, question) for question in questions)
    packed = pack([first, second], len(first) + len(second) + 3, tokenizer.convert_tokens_to_ids(PAD))
    assert packed.question.tolist() == [1] * len(first) + [2] * len(second) + [-1] * 3
    assert packed.position[len(first)] == 0
    assert packed.tokens[: len(first)].tolist() == first.prompt + first.response
    writers = np.flatnonzero(packed.follows != IGNORED)
    assert packed.follows[writers].tolist() == first.response + second.response
    # What a token is to write stands right after it, except for the last one of a response.
    np.testing.assert_array_equal(packed.tokens[writers + 1], packed.follows[writers])
    assert packed.looks.shape == (len(packed.tokens), 1 + IMAGE_TOKENS)


def test_careless_questions_keep_their_words_of_weight(encoder, tokenizer, make_scene):
    scene = view(make_scene(5))
    question = SceneQuestion("relation", "give me the leftmost screwdriver", (ThoughtPiece("none here.", ()),), ())
    rng = random.Random(0)
    prompts = [encoder.example(scene, dense_labels(scene), question, rng).prompt for _ in range(80)]
    texts = [tokenizer.decode(prompt) for prompt in prompts]
    assert all("leftmost" in text and "screwdriver" in text for text in texts)
    assert 10 < sum(text.startswith("give me the leftmost screwdriver<|im_end|>") for text in texts) < 70
    # Some are spelt in other pieces than the tokenizer's own.
    assert any(prompt != tokenizer(text)["input_ids"] for prompt, text in zip(prompts, texts, strict=True))


def test_without_thoughts_the_answer_comes_at_once(tokenizer, make_scene):
    scene = view(make_scene(5))
    rng = random.Random(1)
    question = next(q for q in iter(lambda: draw_question(scene, rng), 0) if q and q.targets)
    plain, thinking = ExampleEncoder(tokenizer, thoughts=False), ExampleEncoder(tokenizer)
    short, long = (one.example(scene, dense_labels(scene), question) for one in (plain, thinking))
    texts = [tokenizer.decode(example.response) for example in (short, long)]
    assert texts[0].startswith("<think></think><answer>[{")
    assert texts[0].partition("</think>")[2] == texts[1].partition("</think>")[2]
    assert short.prompt == long.prompt and len(short.looks) == len(short.response) < len(long.response)

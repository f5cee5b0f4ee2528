"""Round 1 of questions about what happened: its prompt, and all known forms of its answers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.rounds import parse_keyframe, round_messages, sampled
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.types import Frame, Status

CAN = "the red can"


@pytest.mark.parametrize(
    ("text", "index", "description"),
    [
        # As it was asked for.
        (f'<think>it rolled.</think><answer>[{{"frame_idx": 3, "object description": "{CAN}"}}]</answer>', 2, CAN),
        # One object without its list; other spellings of the keys; a number in quotes.
        (f'<think>x</think><answer>{{"frame_index": "4", "object_description": "{CAN}"}}</answer>', 3, CAN),
        (f'<think>x</think><answer>[{{"Frame": "frame 2", "description": "{CAN}"}}]</answer>', 1, CAN),
        # Single quotes, a fence, no tags at all.
        (f"```json\n[{{'frame_idx': 6, 'object description': '{CAN}'}}]\n```", 5, CAN),
        (f'The can rolls away. {{"keyframe": [1], "target": "{CAN}"}}', 0, CAN),
        # A float; the description is missing; both inside something else.
        ('<answer>[{"frame_idx": 2.0}]</answer>', 1, ""),
        (f'<answer>{{"answer": {{"frame_idx": 5, "label": "{CAN}"}}}}</answer>', 4, CAN),
        # The tail is cut off, or the closing tag.
        (f'<think>x</think><answer>[{{"frame_idx": 3, "object description": "{CAN}"', 2, CAN),
        (f'<think>x</think><answer>[{{"frame_idx": 3, "object description": "{CAN}"}}]', 2, CAN),
        # A frame that does not exist, then one that does.
        (f'<answer>[{{"frame_idx": 9, "label": "a"}}, {{"frame_idx": 1, "label": "{CAN}"}}]</answer>', 0, CAN),
        # A draft that is corrected, in prose or before a fence.
        (f'[{{"frame_idx": 2}}] Wait, frame 2 is blurred. Final: [{{"frame_idx": 4, "label": "{CAN}"}}]', 3, CAN),
        (f'Not [{{"frame_idx": 2}}].\n```json\n[{{"frame_idx": 4, "label": "{CAN}"}}]\n```', 3, CAN),
        # Repeated keys: the first frame that exists.
        (f'<answer>{{"frame_idx": 9, "frame_idx": 3, "label": "{CAN}"}}</answer>', 2, CAN),
        # Prose.
        ("<think>hm</think><answer>Frame 5 shows it best.</answer>", 4, ""),
        ("<think>hm</think><answer>frame_idx: 2</answer>", 1, ""),
    ],
)
def test_keyframes_are_read_however_they_are_written(text, index, description):
    keyframe = parse_keyframe(text, 6)
    assert (keyframe.status, keyframe.index, keyframe.description) == (Status.OK, index, description)
    assert keyframe.raw_text == text and not keyframe.error


@pytest.mark.parametrize(
    ("text", "status", "description", "error"),
    [
        ("<think>it fell over: nothing fits.</think><answer>[]</answer>", Status.NO_TARGET, "", ""),
        # Counted from 0, or beyond the end: the description still serves.
        (f'<answer>[{{"frame_idx": 0, "label": "{CAN}"}}]</answer>', Status.UNPARSABLE, CAN, "frame 0; there are"),
        (f'<answer>[{{"frame_idx": 7, "label": "{CAN}"}}]</answer>', Status.UNPARSABLE, CAN, "frames 1 to 6"),
        (f'<answer>[{{"object description": "{CAN}"}}]</answer>', Status.UNPARSABLE, CAN, "no frame is named for"),
        ("<answer>I cannot tell.</answer>", Status.UNPARSABLE, "", "I cannot tell"),
        ("Frame 1 is blurred, frame 4 shows it.", Status.UNPARSABLE, "", "several frames are named in prose (1, 4)"),
        ("<answer>No such object appears in the image.</answer>", Status.NO_TARGET, "", ""),
        ("\u56fe\u4e2d\u6ca1\u6709\u676f\u5b50\u3002", Status.NO_TARGET, "", ""),
        ("[" * 100_000, Status.UNPARSABLE, "", "no frame"),
        ('<answer>[{"frame_idx": true}]</answer>', Status.UNPARSABLE, "", "no frame"),
        ("<think>the can begins to", Status.TRUNCATED, "", "max_new_tokens"),
        ("", Status.UNPARSABLE, "", "no frame"),
        # A box is the answer to another question.
        ('<answer>[{"bbox_2d":[1,2,3,4]}]</answer>', Status.UNPARSABLE, "", "no frame"),
    ],
)
def test_what_names_no_frame_says_why(text, status, description, error):
    keyframe = parse_keyframe(text, 6)
    assert (keyframe.status, keyframe.index, keyframe.description) == (status, -1, description)
    assert error in keyframe.error and bool(keyframe.error) == bool(error)


@given(st.text() | st.lists(st.sampled_from(['{"frame_idx":', "3", "[", "]", "}", '"', "<answer>", "</think>"])))
def test_no_text_is_too_strange(pieces):
    keyframe = parse_keyframe("".join(pieces), 6)
    assert keyframe.status is Status.OK or keyframe.index == -1
    assert keyframe.status is not Status.OK or 0 <= keyframe.index < 6


def test_frames_are_named_by_their_numbers_before_the_question():
    card = load_card("qwen2.5-vl-7b", "reasoner")
    system, user = round_messages(card, "what fell over", [{"type": "image"}] * 3)
    texts = [part.get("text", "IMAGE") for part in user["content"]]
    assert system["role"] == "system"
    assert texts[:6] == ["Frame 1:", "IMAGE", "Frame 2:", "IMAGE", "Frame 3:", "IMAGE"]
    assert '"what fell over"' in texts[6] and texts[6].startswith("These 3 frames")


@pytest.mark.parametrize(("count", "expected"), [(3, [0, 1, 2]), (24, [0, 5, 9, 14, 18, 23]), (7, [0, 1, 2, 4, 5, 6])])
def test_samples_span_all_frames(count, expected):
    assert sampled(count, 6) == expected
    assert sampled(count, 1) == [count - 1]


def test_a_scripted_reasoner_chooses_too():
    reasoner = ScriptedReasoner(['<answer>[{"frame_idx": 2, "object description": "the mug"}]</answer>'])
    assert reasoner.choose([None, None], "what fell?").index == 1
    stopped = reasoner.choose([None, None], "what fell?", Call(cancelled=lambda: True))
    assert stopped.status is Status.CANCELLED and stopped.error


def test_a_local_checkpoint_sees_every_frame_in_its_order(checkpoint, frame, monkeypatch):
    from reasonseg_ros.reasoner.local.reasoner import LocalReasoner

    card = replace(
        load_card(str(checkpoint), "reasoner"), frames_prompt="{query}", frame_name="{number}", frames_size_wh=None
    )
    reasoner = LocalReasoner(card, ReasonerConfig(device="cpu"))
    shown = []
    say = reasoner.say
    monkeypatch.setattr(
        reasoner, "say", lambda messages, images, *rest: shown.extend(images) or say(messages, images, *rest)
    )
    darker = Frame(frame.rgb // 2)
    keyframe = reasoner.choose([frame, darker, frame], "What fell over?", Call(max_new_tokens=5))
    assert keyframe.tokens == 5 and keyframe.raw_text  # whatever random weights say
    assert [image.shape for image in shown] == [(168, 224, 3)] * 3
    assert shown[1].mean() < 0.6 * shown[0].mean()
    refused = reasoner.choose([frame], "what\0?")
    assert refused.status is Status.REFUSED and not refused.tokens
    assert reasoner.choose([frame], "what?", Call(cancelled=lambda: True)).status is Status.CANCELLED


@pytest.mark.parametrize(
    "others",
    [
        '"total_frames": 16', '"num_frames": 16', '"frameCount": 3', '"frame_rate": 10', '"frame_size": [2, 2]',
        '"frames": [3, 4, 5]', '"first_frame": 2, "last_frame": 9', '"frame_description": "3 cups"',
        '"number of frames": 9',
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["frame_idx", "frame", "keyframe", "best_frame", "frameNumber"])
def test_other_numbers_about_frames_choose_none(others: str, key: str) -> None:
    keyframe = parse_keyframe(f'{{{others}, "{key}": 7, "object description": "cup"}}', 16)
    assert (keyframe.status, keyframe.index, keyframe.description) == (Status.OK, 6, "cup")


@pytest.mark.parametrize("words", ['"object description": "none"', '"found": false', '"object": "not found"'])
def test_a_frame_beside_words_that_deny_the_target_is_a_contradiction(words: str) -> None:
    keyframe = parse_keyframe(f'[{{"frame_idx": 4, {words}}}]', 16)
    assert (keyframe.status, keyframe.index) == (Status.CONTRADICTION, -1)
    assert "the target is absent" in keyframe.error


@pytest.mark.parametrize("number", ["-1", "0", "null", "99"])
def test_a_denial_with_a_frame_that_does_not_exist_is_no_target(number: str) -> None:
    text = f'[{{"frame_idx": {number}, "object description": "none"}}]'
    assert parse_keyframe(text, 16).status is Status.NO_TARGET

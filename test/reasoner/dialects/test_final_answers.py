"""Which of a text's boxes are the answer, what a target is called, and when a text says that nothing fits or is cut."""

from __future__ import annotations

import pytest

from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.types import Answer, Status

DENIALS = [
    "No Objects", "no objects.", "None found", "Not found.", "No such object", "no match", "No target found.",
    "Nothing", "**None.**", "N/A", "no bounding box", "no red mug", "not present", "Not visible", "No.", "0 matches",
    "nothing in the image matches", "Nothing matches the description.", "I cannot find it", "I don't see any mugs.",
    "The object does not exist in the image.", "The image contains no mugs.", "The mug cannot be found.",
    "I see no mug in the image.", "None of the objects on the table match.",
    "Sorry, I couldn't find anything like that.", "No, there is no red mug in the image.",
    "\u56fe\u4e2d\u6ca1\u6709\u7ea2\u8272\u7684\u676f\u5b50\u3002", "\u6ca1\u6709", "\u672a\u627e\u5230\u76ee\u6807",
    "\u56fe\u7247\u4e2d\u4e0d\u5b58\u5728\u7b26\u5408\u6761\u4ef6\u7684\u7269\u4f53\u3002",
    "\u62b1\u6b49\uff0c\u56fe\u4e2d\u6ca1\u6709\u676f\u5b50\u3002", "\u5716\u4e2d\u6c92\u6709\u676f\u5b50",
    "\uc774\ubbf8\uc9c0\uc5d0 \ube68\uac04 \uba38\uadf8\ucef5\uc774 \uc5c6\uc2b5\ub2c8\ub2e4.", "\uc5c6\uc74c",
    "\ud574\ub2f9\ud558\ub294 \ubb3c\uccb4\ub97c \ucc3e\uc744 \uc218 \uc5c6\uc2b5\ub2c8\ub2e4.",
    "\ube68\uac04 \ucef5\uc774 \ubcf4\uc774\uc9c0 \uc54a\uc2b5\ub2c8\ub2e4",
    "\u753b\u50cf\u306b\u8d64\u3044\u30ab\u30c3\u30d7\u304c\u3042\u308a\u307e\u305b\u3093\u3002",
]  # fmt: skip
# No problem, no doubt, nothing else, a thing that is described as having no handle.
NO_DENIALS = [
    "No problem! The mug is on the left.", "No idea", "There is no doubt that it is the mug.", "Yes", "mug",
    "There is no hammer here, but the stone can drive a nail.",
    "\u6ca1\u6709\u95ee\u9898\uff0c\u676f\u5b50\u5728\u5de6\u8fb9\u3002",
    "\u6ca1\u6709\u628a\u624b\u7684\u676f\u5b50\u5728\u5de6\u8fb9",
    "\u56fe\u4e2d\u6ca1\u6709\u9524\u5b50\uff0c\u4f46\u6700\u63a5\u8fd1\u7684\u662f\u6273\u624b",
    "\uc190\uc7a1\uc774\uac00 \uc5c6\ub294 \ucef5\uc740 \uc67c\ucabd\uc5d0 \uc788\uc2b5\ub2c8\ub2e4",
    "\uc758\uc2ec\ud560 \uc5ec\uc9c0\uac00 \uc5c6\uc2b5\ub2c8\ub2e4. \uc67c\ucabd \ucef5\uc785\ub2c8\ub2e4.",
]  # fmt: skip
SIZE_WH = (640, 480)


def tagged(answer: str) -> str:
    return f"<think>the mug holds coffee</think><answer>{answer}</answer>"


def rounded(answer: Answer) -> list[list[int]]:
    return [[round(float(number)) for number in grounding.box_xyxy] for grounding in answer.groundings]


J = '[{"bbox_2d": [84, 84, 420, 420], "label": "mug"}]'
DRAFT = '{"bbox_2d": [10, 20, 30, 40], "label": "bowl"}'
MUG, BOWL = [84, 84, 420, 420], [10, 20, 30, 40]

# name: text, boxes, whether other boxes are reported
FINAL = {
    "box of another object in prose": (f"The bowl at [10, 20, 30, 40] is not red.\n```json\n{J}\n```", [MUG], False),
    "the image's size in prose": (f"The image spans [0, 0, 1000, 1000]. Answer: {J}", [MUG], False),
    "the image's size behind bare numbers": ("It is at [84,84,420,420] of [0,0,1000,1000].", [MUG], False),
    "object in prose, then a fence": (f"I first see {DRAFT}, but it is blue. So:\n```json\n{J}\n```", [MUG], False),
    "a fence, then a correction in a fence": (
        f"```json\n[{DRAFT}]\n```\nWait, that is the bowl. Correct:\n```json\n{J}\n```", [MUG], True,
    ),
    "a fence, then a correction in prose": (f"```json\n[{DRAFT}]\n```\nSorry, the correct one is {J}", [MUG], True),
    "a list, then another one": (f"[{DRAFT}]\nLet me look again: it is further down.\n{J}", [MUG], True),
    "a correction in Chinese": (f"[{DRAFT}]\n\u4e0d\u5bf9\uff0c\u5e94\u8be5\u662f\uff1a{J}", [MUG], True),
    "announced bare numbers": (f"I first see {DRAFT}; the final answer is [84, 84, 420, 420]", [MUG], True),
    "an object that is left out after the fence": (f"```json\n{J}\n```\nI left out {DRAFT}, it is blue.", [MUG], False),
    "prose in answer tags": (f"<answer>I see {DRAFT}, which is blue.\n```json\n{J}\n```</answer>", [MUG], False),
    "a correction in separate answer tags": (
        f"<answer>[{DRAFT}]</answer> Wait, that is the bowl. <answer>{J}</answer>", [MUG], False,
    ),
    "an empty list that is mentioned after an object in prose": (
        f"I see {J[1:-1]}. The list [] is for images without mugs.", [MUG], False,
    ),
    "a box in the thought": (f"<think>[10,20,30,40]</think>{J}", [MUG], False),
    "several ends of a thought": (f"<think>a</think>It is not [10,20,30,40].</think>{J}", [MUG], False),
    "a thought without its beginning": (f"The bowl is at [10,20,30,40].\n</think>\n\n{J}", [MUG], False),
    "an empty thought": (f"<think>\n\n</think>\n\n{J}", [MUG], False),
    "one object a line": (f"{J[1:-1]}\n{DRAFT}", [MUG, BOWL], False),
    "objects with and between them": (f"{J[1:-1]} and {DRAFT}", [MUG, BOWL], False),
    "a numbered list": ("1. mug: [84, 84, 420, 420]\n2. bowl: [10, 20, 30, 40]", [MUG, BOWL], False),
    "a fence for each object": (f"Mug:\n```json\n{J}\n```\nBowl:\n```json\n[{DRAFT}]\n```", [MUG, BOWL], False),
    "repeated keys": (
        '{"label": "mug", "bbox_2d": [84,84,420,420], "label": "bowl", "bbox_2d": [10,20,30,40]}', [MUG, BOWL], False,
    ),
    "repeated keys and escaped quotes": (
        '{"label": "a \\"big\\" mug", "bbox_2d": [84,84,420,420], "label": "bowl", "bbox_2d": [10,20,30,40]}',
        [MUG, BOWL], False,
    ),
    "repeated box alone": ('{"bbox_2d": [84,84,420,420], "bbox_2d": [10,20,30,40]}', [MUG, BOWL], False),
    "repeated keys in a list": ('[{"bbox_2d": [84,84,420,420], "bbox_2d": [10,20,30,40]}]', [MUG, BOWL], False),
}  # fmt: skip


@pytest.mark.parametrize(("text", "boxes", "is_reported"), FINAL.values(), ids=FINAL.keys())
def test_only_the_final_boxes_are_targets(text: str, boxes: list[list[int]], is_reported: bool) -> None:
    answer = parse_answer(text, (1000, 1000), dialect="qwen3-vl")
    assert rounded(answer) == boxes, answer.error
    assert ("final ones" in answer.error) == is_reported
    assert "mixed up" not in answer.error or "<answer>" in text


def test_an_answer_that_is_taken_back_is_no_target() -> None:
    answer = parse_answer(f"```json\n{J}\n```\nWait, that is a bowl. Final:\n```json\n[]\n```", SIZE_WH)
    assert answer.status is Status.NO_TARGET
    assert "taken back" in answer.error


LABELS = {
    "label": ('[{"bbox_2d": [84,84,420,420], "label": "red mug"}]', ["red mug"]),
    "object_name": ('{"object_name": "red mug", "bbox": [84,84,420,420]}', ["red mug"]),
    "category": ('{"bbox_2d": [84,84,420,420], "category": "red mug"}', ["red mug"]),
    "text_content": ('{"bbox_2d": [84,84,420,420], "text_content": "red mug"}', ["red mug"]),
    "a nested object": ('{"object": {"name": "red mug"}, "bbox_2d": [84,84,420,420]}', ["red mug"]),
    "the key of the box": ('{"red mug": [84,84,420,420], "bowl": [10,20,30,40]}', ["red mug", "bowl"]),
    "the key of the object": ('{"objects": {"red mug": {"bbox_2d": [84,84,420,420]}}}', ["red mug"]),
    "a list beside boxes": ('{"bbox_2d": [[84,84,420,420],[10,20,30,40]], "label": ["mug","bowl"]}', ["mug", "bowl"]),
    "repeated keys": ('{"label": "a", "bbox": [84,84,420,420], "label": "b", "bbox": [10,20,30,40]}', ["a", "b"]),
    "words of a line": ("1. red mug: [84,84,420,420]\n2. bowl: [10,20,30,40]", ["red mug", "bowl"]),
    "bold words of a line": ("- **red mug**: [84,84,420,420]", ["red mug"]),
    "words before a fence": ("Red mug:\n```json\n[84,84,420,420]\n```", ["Red mug"]),
    "escaped characters": ('[{"bbox_2d": [84,84,420,420], "label": "\\u676f\\u5b50"}]', ["\u676f\u5b50"]),
    "full-width text": ('[{"bbox_2d": [84,84,420,420], "label": "\u676f\uff0c\u5b50"}]', ["\u676f\uff0c\u5b50"]),
    "control characters": ('[{"bbox_2d": [84,84,420,420], "label": "a\x1b[2J\n b"}]', ["a\\x1b[2J b"]),
    "no name": ("Answer: [84,84,420,420]", [""]),
    "a number": ('[{"bbox_2d": [84,84,420,420], "label": 3}]', [""]),
    "a tool's arguments": ('{"arguments": {"bbox_2d": [84,84,420,420]}}', [""]),
    "LaTeX": ("\\boxed{[84,84,420,420]}", [""]),
    "structure": ('{"detections": [{"bbox_2d": [84,84,420,420]}]}', [""]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "labels"), LABELS.values(), ids=LABELS.keys())
def test_the_label_is_what_the_reasoner_calls_the_target(text: str, labels: list[str]) -> None:
    answer = parse_answer(text, (1000, 1000), dialect="qwen3-vl")
    assert [grounding.label for grounding in answer.groundings] == labels, answer.error


@pytest.mark.parametrize("tags", [True, False])
@pytest.mark.parametrize("words", DENIALS)
def test_a_denial_in_plain_words_is_no_target(words: str, tags: bool) -> None:
    answer = parse_answer(tagged(words) if tags else words, SIZE_WH)
    assert (answer.status, answer.error) == (Status.NO_TARGET, "")


@pytest.mark.parametrize("words", NO_DENIALS)
def test_other_words_are_no_denial(words: str) -> None:
    assert parse_answer(words, SIZE_WH).status is Status.UNPARSABLE


@pytest.mark.parametrize(
    "text",
    [
        "I cannot see a red mug at once. Let me look at the",
        "There is no mug on the left shelf in the image. On the right I see",
        "There is no target object in the image. \n" * 60,
        "<think>m</think><answer>There is no mug here, but the closest",
        "None of the objects match",
        "\u56fe\u4e2d\u6ca1\u6709\u676f\u5b50",
        "The list [] would be wrong, as",
        f"I first see {DRAFT}, but it is",
        "[" + '{"bbox_2d": [84, 84',
    ],
)
def test_a_text_that_was_cut_is_truncated_however_it_began(text: str) -> None:
    answer = parse_answer(text, SIZE_WH, cut=True)
    assert answer.status is Status.TRUNCATED
    assert "max_new_tokens" in answer.error


@pytest.mark.parametrize("text", [tagged("No objects"), tagged("[]"), "[]", "```json\n[]\n```"])
def test_a_complete_answer_counts_where_the_limit_was_hit_behind_it(text: str) -> None:
    assert parse_answer(text, SIZE_WH, cut=True).status is Status.NO_TARGET


def test_a_cut_explanation_behind_the_answer_keeps_it() -> None:
    answer = parse_answer(f"```json\n{J}\n```\nThis is the mug because", (1000, 1000), dialect="qwen3-vl", cut=True)
    assert rounded(answer) == [MUG] and "cut off" in answer.error

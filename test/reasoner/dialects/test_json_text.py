from __future__ import annotations

import pytest

from reasonseg_ros.reasoner.dialects.json_text import find_values


@pytest.mark.parametrize(
    ("text", "values", "cut"),
    [
        ('{"a": [1, 2]} and [3]', [{"a": [1.0, 2.0]}, [3.0]], False),
        ("{'a': 'it's', b: None}", [{"a": "it's", "b": None}], False),
        ('{"a": "say "hi" now", "b": 1}', [{"a": 'say "hi" now', "b": 1.0}], False),
        ("[1 2; 3,,]", [[1.0, 2.0, 3.0]], False),
        ("[(1, 2), (3, 4)]", [[[1.0, 2.0], [3.0, 4.0]]], False),
        ('[{"a": [1}, {"a": [2]}]', [[{"a": [1.0]}, {"a": [2.0]}]], False),
        ('[{"a": 1]', [[{"a": 1.0}]], False),
        ('{"a": [1, 2], "b": [3', [{"a": [1.0, 2.0]}], True),
        ("[[1, 2], [3", [[[1.0, 2.0]]], True),
        ("[1, 2", [], True),
        ('{"a', [], True),
        ("the dog's bowl [1]", [[1.0]], False),
        ("(see the mug's picture) nothing", [], False),
        ("]})", [], False),
        ('{"a": 1, "a": 2}', [[{"a": 1.0}, {"a": 2.0}]], False),
        ('[{"a": 1, "b": 2, "a": 3}]', [[[{"a": 1.0, "b": 2.0}, {"a": 3.0}]]], False),
        ('{"a": 1, "a": 2, "b": [3', [[{"a": 1.0}, {"a": 2.0}]], True),
        ('{"a": "\\u676f\\n\\"b\\""}', [{"a": '\u676f\n"b"'}], False),
        ("\uff3b1\uff0c2\uff3d", [[1.0, 2.0]], False),
        ("[" * 33 + "1" + "]" * 33, [], False),
        ("", [], False),
    ],
)
def test_values_are_found_and_read(text: str, values: list[object], cut: bool) -> None:
    assert find_values(text) == (values, cut)

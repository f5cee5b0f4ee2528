"""How deep brackets are read, and where a value ends whose bracket is the wrong one."""

from __future__ import annotations

import pytest

from reasonseg_ros.reasoner.dialects.json_text import MAX_DEPTH, find_spans


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}")])
def test_values_are_read_down_to_the_limit_and_no_deeper(opened: str, closed: str) -> None:
    def nested(levels: int) -> str:
        return opened * (levels - 1) + ("[]" if opened == "[" else "{}") + closed * (levels - 1)

    whole = find_spans(nested(MAX_DEPTH))
    assert len(whole.spans) == 1 and not whole.is_too_deep
    deeper = find_spans(nested(MAX_DEPTH + 1))
    assert deeper.is_too_deep and not deeper.spans


def test_an_object_closed_by_a_square_bracket_ends_behind_it() -> None:
    found = find_spans('{"a": 1] and')
    assert [(span.start, span.end, span.value) for span in found.spans] == [(0, 8, {"a": 1.0})]


def test_a_brace_closes_the_object_round_a_list_without_its_own_bracket() -> None:
    found = find_spans('{"a": [1, 2} {"b": 3}')
    assert [span.value for span in found.spans] == [{"a": [1.0, 2.0]}, {"b": 3.0}]
    assert not found.is_cut

"""libyaml's parser gives the values of PyYAML's own, and refuses what that refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonseg_ros.files.strict_yaml import parse_yaml
from reasonseg_ros.files.yaml_loader import Loader

ROOT = Path(__file__).resolve().parents[2]
PIECES = [
    "a", "b: ", "- ", "\n", "\n  ", "[", "]", "{", "}", ", ", ": ", "'", '"', "&x ", "*x", "<<: *x", "!!str ", "|\n",
    ">\n", "0", "0x1f", "1_000", "1:30", ".nan", "-.inf", "yes", "~", "null", "2026-11-28", "2026-13-41", "#c", "---\n",
    "é", "\\",
]  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


def read(text: str, loader: type) -> tuple[str, Any]:
    try:
        return "value", yaml.load(text, loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        return "refused", isinstance(error, yaml.YAMLError)


@settings(max_examples=100)
@given(values)
def test_what_was_written_comes_back(value: object) -> None:
    assert yaml.load(yaml.safe_dump(value), Loader) == value
    unescaped = yaml.safe_dump(value, allow_unicode=True)
    assert yaml.load(unescaped, Loader) == yaml.safe_load(unescaped)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_where_both_parsers_read_a_text_they_read_the_same(text: str) -> None:
    (kind, value), (own_kind, own) = read(text, yaml.SafeLoader), read(text, Loader)
    if kind == own_kind == "value":
        assert repr(own) == repr(value)


@pytest.mark.parametrize(
    "file", [*ROOT.glob("models/**/*.yaml"), *ROOT.glob("config/*.yaml"), *ROOT.glob("demo/**/*.yaml")],
    ids=lambda file: str(file.relative_to(ROOT)),
)  # fmt: skip
def test_the_files_of_the_package_are_read_the_same(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert yaml.load(text, Loader) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: b: c", "\ta: 1", "a: *b", "a: '\x01'", "\x00", "a: \ud800", "a: *y", "!!python/none 1"],
)  # fmt: skip
def test_what_safe_loader_refuses_is_refused_as_yaml(text: str) -> None:
    for loader in (yaml.SafeLoader, Loader):
        with pytest.raises(yaml.YAMLError):
            yaml.load(text, loader)


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 100_000, "- " * 100_000 + "a", "[" * 100_000 + "]" * 100_000])
def test_a_deep_text_is_an_error_and_does_not_end_the_process(text: str) -> None:
    with pytest.raises(RecursionError):
        yaml.load(text, Loader)


def test_numbers_and_dates_keep_their_kinds() -> None:
    value = yaml.load("[0x1f, 1_000, 1:30, .inf, yes, ~, 2026-11-28]", Loader)
    assert [type(item).__name__ for item in value] == ["int", "int", "int", "float", "bool", "NoneType", "date"]
    assert value[:5] == [31, 1000, 90, math.inf, True]


def test_an_escaped_surrogate_is_a_value_and_no_reason_to_refuse_the_text() -> None:
    assert parse_yaml(r'["\ud800", "\U0000DC00", "\u00e9"]') == ["\ud800", "\udc00", "\u00e9"]
    with pytest.raises(yaml.YAMLError, match="stands twice"):
        parse_yaml(r'{a: "\ud800", a: 1}')

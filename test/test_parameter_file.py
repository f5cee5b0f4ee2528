"""Which sections of a robot's parameter file the commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasonseg_ros.config.parameter_file import check_unambiguous, parameter_file, read_parameters
from reasonseg_ros.errors import ConfigError

CAMERA = "camera_driver:\n  ros__parameters:\n    width: 640\n    method: 3\n"


def read(folder: Path, text: str) -> dict[str, Any]:
    (folder / "robot.yaml").write_text(text)
    return read_parameters(folder / "robot.yaml")


def section(name: str, method: str) -> str:
    return f'"{name}":\n  ros__parameters:\n    method: {method}\n'


@pytest.mark.parametrize("name", ["/**", "reasonseg", "/reasonseg", "/robot1/reasonseg", "/*", "/robot1/**"])
@pytest.mark.parametrize("camera_first", [True, False])
def test_sections_of_other_nodes_are_left_out(tmp_path: Path, name: str, camera_first: bool) -> None:
    parts = [CAMERA, section(name, "rev_seg")]
    assert read(tmp_path, "".join(parts if camera_first else reversed(parts))) == {"method": "rev_seg"}


def test_namespaces_may_be_nested(tmp_path: Path) -> None:
    text = "robot1:\n  reasonseg:\n    ros__parameters:\n      reasoner:\n        strict: true\n" + CAMERA
    assert read(tmp_path, text) == {"reasoner.strict": True}


@pytest.mark.parametrize("wild_first", [True, False])
def test_the_nodes_own_section_takes_precedence(tmp_path: Path, wild_first: bool) -> None:
    parts = [section("/**", "rev_seg"), section("/reasonseg", "llm_seg")]
    assert read(tmp_path, "".join(parts if wild_first else reversed(parts))) == {"method": "llm_seg"}


def test_the_only_section_counts_whatever_its_name(tmp_path: Path) -> None:
    assert read(tmp_path, section("front_eyes", "rev_seg")) == {"method": "rev_seg"}


@pytest.mark.parametrize("names", [("/front/reasonseg", "/rear/reasonseg"), ("front_eyes", "rear_eyes")])
def test_a_file_for_several_such_nodes_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"is for several nodes: .*_eyes|is for several nodes: .*reasonseg"):
        read(tmp_path, section(names[0], "rev_seg") + section(names[1], "llm_seg"))


@pytest.mark.parametrize("text", ["", "[]", "a: 1", "reasonseg:\n  - 1\n", "reasonseg: {}\n  x: 1", "1: {2: 3}"])
def test_what_is_no_parameter_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="not a ROS 2 parameter file"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (section("reasonseg", "rev_seg") + section("reasonseg", "llm_seg"), "the key 'reasonseg' stands twice"),
        ("reasonseg:\n  ros__parameters: {method: rev_seg, method: llm_seg}\n", "the key 'method' stands twice"),
        ("reasonseg:\n  ros__parameters: {reasoner.strict: true, reasoner: {strict: false}}\n",
         "reasoner.strict stands twice, nested and with dots"),
    ],
)  # fmt: skip
def test_a_value_that_stands_twice_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """ROS merges sections of one name, a reader of YAML keeps the last one: a command would differ from the node."""
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, text)


def test_the_node_refuses_a_name_that_stands_nested_and_with_dots(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"reasoner\.strict stands twice, nested and with dots"):
        check(tmp_path, "/**:\n  ros__parameters: {reasoner.strict: true, reasoner: {strict: false}}\n")
    for text in ("/**: 5\n", "/**:\n  ros__parameters: 5\n", parameter_file()):
        check(tmp_path, text)  # what is no parameter file is refused by ROS


def check(folder: Path, text: str, names: tuple[str, ...] = ("reasonseg",)) -> None:
    (folder / "robot.yaml").write_text(text)
    check_unambiguous(folder / "robot.yaml", names)


@pytest.mark.parametrize("wild", ["/**", "/*", "/robot1/**"])
@pytest.mark.parametrize("own", ["reasonseg", "/reasonseg", "/robot1/reasonseg", "eyes"])
def test_a_wildcard_that_would_override_the_nodes_own_section_is_refused(tmp_path: Path, wild: str, own: str) -> None:
    """ROS takes the last section of a file that matches the node, and the commands take the node's own."""
    names = ("reasonseg", "eyes")
    with pytest.raises(ConfigError, match=r"overrides method of '.*', because it stands behind it; put the wildcard"):
        check(tmp_path, section(own, "rev_seg") + section(wild, "llm_seg"), names)
    check(tmp_path, section(wild, "llm_seg") + section(own, "rev_seg"), names)
    check(tmp_path, section(own, "rev_seg") + section(wild, "rev_seg"), names)
    check(tmp_path, CAMERA + section(own, "rev_seg") + section("other", "llm_seg"), names)
    check(tmp_path, section("camera_driver", "rev_seg") + section(wild, "llm_seg"), names)


def test_the_shipped_file_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, parameter_file())["reasoner.strict"] is False

"""The command line of the node: nothing starts for a question about its usage, or for arguments it does not know."""

import subprocess
import sys

import pytest

from reasonseg_ros.ros import node

ROS = ["--ros-args", "-p", "autostart:=false", "-r", "image:=/camera/image"]


@pytest.fixture
def run(monkeypatch):
    """Run the node's program with arguments; it fails the test if the node starts."""

    def start(*_):
        raise AssertionError("the node starts")

    monkeypatch.setattr(node, "ReasonSegNode", start)
    return lambda *arguments: node.main(["node", *arguments])


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], [*ROS, "--", "--help"]])
def test_the_usage_says_how_to_set_parameters_and_where_they_are_described(run, capfd, arguments):
    assert run(*arguments) == 0
    out, errors = capfd.readouterr()
    assert "--ros-args [-p NAME:=VALUE]" in out and "The perception node" in out and not errors
    path = out.partition("Parameters with their defaults and bounds: ")[2].splitlines()[0]
    with open(path) as file:
        assert "ros__parameters" in file.read()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["image"], "image"),
        (["--hel"], "--hel"),
        (["-p", "autostart:=false"], "-p"),  # ROS takes the second one as an old form of remapping
        ([*ROS, "--", "--image", "x"], "--image x"),
    ],
)
def test_arguments_that_are_not_for_ros_are_refused(run, capfd, arguments, named):
    assert run(*arguments) == 2
    out, errors = capfd.readouterr()
    assert not out and errors.endswith(f"node: error: unrecognized arguments: {named}\n")


def test_unknown_arguments_after_ros_args_are_named(run, capfd):
    assert run("--ros-args", "--parameter", "autostart:=false") == 2
    out, errors = capfd.readouterr()
    assert not out and errors == "reasonseg: unknown ROS arguments ['--parameter', 'autostart:=false']; see --help\n"


def test_ros_arguments_start_the_node(run):
    with pytest.raises(AssertionError, match="the node starts"):
        run(*ROS)


def test_the_program_ends_with_the_status_of_its_usage():
    command = [sys.executable, "-m", "reasonseg_ros.ros.node"]
    asked = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=120, check=False)
    assert asked.returncode == 0 and asked.stdout.startswith("usage: ") and not asked.stderr
    refused = subprocess.run([*command, "x"], capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == 2 and not refused.stdout

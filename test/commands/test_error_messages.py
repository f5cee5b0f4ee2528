"""The known errors of each verb, word for word: one line on stderr and exit status 2."""

import shlex
import signal
import sys
import types

import cv2
import numpy as np
import pytest

from reasonseg_ros import cli

COMMANDS = """
demo --out text.txt/demo
ask absent.png "the red cup"
ask text.txt "the red cup"
ask image.png "the red cup" --model absent/model
ask image.png "the red cup" --out text.txt/overlay.png
ask image.png "the red cup" --out empty
check-server --model absent/model
evaluate absent.mcap --out out
evaluate empty --out out
evaluate text.txt --out out
evaluate damaged.mcap --out out
evaluate damaged.mcap --out out --set reasoner.modell=x
evaluate damaged.mcap --out out --set query.queue_size=none
evaluate damaged.mcap --out out --set query.queue_size=0
evaluate damaged.mcap --out out --set query.policy=shout
evaluate damaged.mcap --out text.txt
bag info absent.mcap
bag info empty
bag info text.txt
bag info damaged.mcap
bag from-reasonseg empty --out new.mcap
bag from-refcoco empty --out new.mcap
bag from-llmseg40k empty --out new.mcap
bag from-sgdr empty --out new.mcap
bag from-parquet empty --out new.mcap
bag from-video empty --out new.mcap
bag merge new absent.mcap damaged.mcap
bag merge empty damaged.mcap
replay absent.mcap
replay text.txt
replay damaged.mcap
replay damaged.mcap --set reasoner.modell=x
score --predictions empty --targets empty
score --predictions absent --targets empty
compare absent other
compare empty empty
engine build absent
engine build empty
engine remove absent
export segmenter --model absent --out graphs
export segmenter --model empty --out graphs
tabletop bag --seed 1 --scenes 1 --out text.txt/new.mcap
train reasoner --scenes absent --out run
train segmenter train --run absent --out segmenter
"""


WITH_ROS = """
play absent.mcap
play empty
play text.txt
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "image.png"), np.full((48, 64, 3), 90, np.uint8))
    (tmp_path / "text.txt").write_text("hello\n")
    (tmp_path / "damaged.mcap").write_bytes(b"\x89MCAP0\r\n" + bytes(40))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def outcome(command, capsys):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        status = cli.main(shlex.split(command))
    except SystemExit as error:
        status = error.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return status, capsys.readouterr().err


def transcript(commands, folder, capsys):
    entries = []
    for command in commands.strip().splitlines():
        status, errors = outcome(command, capsys)
        assert (status, errors.count("\n")) == (2, 1), f"{command}: {status} {errors}"
        entries.append(f"$ reasonseg {command}\n{errors}")
    return "\n".join(entries).replace(str(folder), "FOLDER")


def test_known_errors_read_as_they_are_pinned(folder, snapshot, capsys):
    snapshot("errors_of_verbs", transcript(COMMANDS, folder, capsys))


def test_known_errors_of_verbs_that_need_ros_read_as_they_are_pinned(folder, snapshot, capsys):
    pytest.importorskip("rclpy", reason="needs ROS 2")
    snapshot("errors_of_verbs_that_need_ros", transcript(WITH_ROS, folder, capsys))


@pytest.mark.parametrize("module", ["rclpy", "sensor_msgs.msg", "reasonseg_ros.msg"])
def test_without_ros_a_verb_that_needs_it_says_so(folder, capsys, monkeypatch, module):
    def play(*_, **__):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setitem(sys.modules, "reasonseg_ros.ros.playing.player", types.SimpleNamespace(play=play))
    status, errors = outcome("play text.txt", capsys)
    assert status == 2
    assert f"no Python module '{module}'; this needs ROS 2: source its setup.bash" in errors

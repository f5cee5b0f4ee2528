import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from reasonseg_ros import cli
from reasonseg_ros.bags import BagReader
from reasonseg_ros.methods import loading
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter

ROOT = Path(__file__).parents[1]
FOUND = '<think>Nails need a hammer.</think><answer>[{"bbox_2d": [4, 6, 20, 30], "point_2d": [10, 12]}]</answer>'


@pytest.fixture(autouse=True)
def keep_signal_handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), 90, np.uint8))
    return path


@pytest.fixture
def scripted(monkeypatch):
    """Models that say the given text; the settings they were asked for are kept."""
    asked = []

    def use(text):
        def load(config):
            asked.append(config)
            return SegZero(ScriptedReasoner([text]), ScriptedSegmenter("box"), config)

        monkeypatch.setattr(loading, "load_method", load)
        return asked

    return use


def test_ask_prints_the_answer_and_draws_it(scripted, image, tmp_path, capsys):
    configs = scripted(FOUND)
    arguments = ["ask", str(image), "what drives nails?", "--model", "seg-zero-7b", "--device", "cpu"]
    arguments += ["--method", "rea2_seg"]
    assert cli.main([*arguments, "--out", str(tmp_path / "new/overlay.png")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["status"], report["thought"], report["error"]) == ("ok", "Nails need a hammer.", None)
    assert [region["box_xyxy"] for region in report["regions"]] == [[4, 6, 20, 30]]
    assert report["regions"][0]["area_px"] == 16 * 24
    drawn = cv2.imread(str(tmp_path / "new/overlay.png"))
    assert not np.array_equal(drawn[20, 12], [90, 90, 90])
    assert (configs[0].reasoner.model, configs[0].segmenter.device) == ("seg-zero-7b", "cpu")
    assert (configs[0].method, report["alternative"]) == ("rea2_seg", None)


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [("<think>No hammer here.</think><answer>[]</answer>", "no_target", 0), ("I am not sure.", "unparsable", 1)],
)
def test_ask_tells_nothing_fits_from_a_failure(scripted, image, capsys, text, status, code):
    scripted(text)
    assert cli.main(["ask", str(image), "what drives nails?"]) == code
    report = json.loads(capsys.readouterr().out)
    assert (report["status"], report["regions"]) == (status, [])
    assert bool(report["error"]) == (code == 1)


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_an_image_that_cannot_be_read_is_one_line(tmp_path, capsys, content):
    path = tmp_path / "image.png"
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["ask", str(path), "what is this?"]) == cli.USAGE_ERROR
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert str(path) in printed.err


def test_ctrl_c_is_one_line(monkeypatch, image, capsys):
    def interrupt(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load_method", interrupt)
    assert cli.main(["ask", str(image), "what is this?"]) == cli.INTERRUPTED
    assert capsys.readouterr().err == "reasonseg: interrupted\n"


def test_tabletop_bag_and_show_write_what_they_say(tmp_path, capsys):
    options = ["--seed", "30000000", "--scenes", "2", "--size", "96x72"]
    assert cli.main(["tabletop", "bag", *options, "--out", str(tmp_path / "bag"), "--questions", "1"]) == 0
    with BagReader(tmp_path / "bag") as bag:
        images = [message for _, _, message in bag.messages(["/camera/image"])]
    assert [(message.width, message.height) for message in images] == [(96, 72)] * 2
    assert cli.main(["tabletop", "show", *options, "--out", str(tmp_path / "sheet.png")]) == 0
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] > 2 * 96
    capsys.readouterr()
    assert cli.main(["tabletop", "bag", *options, "--out", str(tmp_path / "bag")]) == cli.USAGE_ERROR
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--seed", "1000000000", "--scenes", "1"], "reserved"),
        (["--seed", "1", "--scenes", "1", "--kinds", "taste"], "taste"),
    ],
)
def test_tabletop_refuses_what_cannot_be(tmp_path, capsys, options, reason):
    assert cli.main(["tabletop", "bag", *options, "--out", str(tmp_path / "bag")]) == cli.USAGE_ERROR
    assert reason in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["train", "nothing"],
        ["ask"],
        ["tabletop"],
        ["tabletop", "bag", "--seed", "1", "--scenes", "1", "--size", "big"],
    ],
)
def test_wrong_use_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == cli.USAGE_ERROR
    assert "usage: reasonseg" in capsys.readouterr().err


def test_version_names_the_libraries(capsys):
    assert cli.main(["version"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("reasonseg_ros ")
    assert "numpy" in printed


def test_light_verbs_load_neither_torch_nor_ros():
    code = """
import sys
from reasonseg_ros.cli import main
main(["parse", "--size", "64x48"])
heavy = {"torch", "transformers", "rclpy", "mujoco", "rosbags"} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run(
        [sys.executable, "-c", code], input=FOUND, capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert json.loads(result.stdout)["status"] == "ok"


def test_ctrl_c_before_a_verb_begins_is_one_line(monkeypatch, capsys):
    code = """
import sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == "reasonseg_ros.commands.doctor":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from reasonseg_ros.cli import main
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ended.returncode, ended.stderr) == (cli.INTERRUPTED, "reasonseg: interrupted\n")

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_parser", interrupted)
    assert cli.main(["version"]) == cli.INTERRUPTED
    assert capsys.readouterr().err == "reasonseg: interrupted\n"


def test_a_terminated_bag_leaves_nothing_behind(tmp_path):
    command = ["-m", "reasonseg_ros.cli", "tabletop", "bag", "--seed", "1", "--scenes", "100000", "--size", "64x48"]
    running = subprocess.Popen(
        [sys.executable, *command, "--out", tmp_path / "bag"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline_s = time.monotonic() + 60
    while not list(tmp_path.iterdir()):
        assert time.monotonic() < deadline_s, "the bag was not begun"
        time.sleep(0.05)
    running.terminate()
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []

"""An interrupted or killed evaluation can be resumed, and says how."""

import os
import signal
import subprocess
import sys

import pytest

from reasonseg_ros import cli


@pytest.mark.parametrize("ending", [KeyboardInterrupt, "SIGTERM"])
def test_an_interrupted_evaluation_names_resume(ending, method, make_bag, samples_of, tmp_path, capsys):
    answer, seen = method.reasoner.answer, []

    def interrupted(frame, text, *call):
        seen.append(text)
        if len(seen) == 2:
            if ending == "SIGTERM":
                raise SystemExit(128 + signal.SIGTERM)
            raise KeyboardInterrupt
        return answer(frame, text, *call)

    method.reasoner.answer = interrupted
    bag, out = make_bag([samples_of(name) for name in "abc"]), tmp_path / "out"
    arguments = ["evaluate", str(bag), "--out", str(out), "--ahead", "0"]
    if ending == "SIGTERM":
        with pytest.raises(SystemExit) as left:
            cli.main(arguments)
        assert left.value.code == 128 + signal.SIGTERM
    else:
        assert cli.main(arguments) == cli.INTERRUPTED
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("reasonseg: ")]
    assert "--resume" in line and str(out) in line
    assert cli.main([*arguments, "--resume"]) == 0


def test_a_signal_in_the_middle_names_resume(make_bag, samples_of, tmp_path):
    """A real process, a real signal."""
    code = """
import os, sys, time
from reasonseg_ros import cli
from reasonseg_ros.config import Config
from reasonseg_ros.methods import loading
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter

class Slow(ScriptedReasoner):
    def answer(self, frame, text, *call):
        if text == "question b?":
            print("asked", flush=True)
            time.sleep(600)
        return super().answer(frame, text, *call)

method = SegZero(Slow(["<answer>[]</answer>"]), ScriptedSegmenter("box"), Config())
loading.load_method = lambda config, **_: method
sys.exit(cli.main(sys.argv[1:]))
"""
    bag, out = make_bag([samples_of(name) for name in "abc"]), tmp_path / "out"
    command = [sys.executable, "-c", code, "evaluate", str(bag), "--out", str(out), "--ahead", "0"]
    for number in (signal.SIGINT, signal.SIGTERM):
        resume = ["--resume"] if out.exists() else []
        with subprocess.Popen(
            [*command, *resume], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        ) as process:
            assert process.stdout.readline() == "asked\n"
            process.send_signal(number)
            _, errors = process.communicate(timeout=90)
        assert process.returncode == 128 + number and "Traceback" not in errors
        (line,) = [line for line in errors.splitlines() if line.startswith("reasonseg: ")]
        assert "--resume" in line and (out / "results.jsonl").read_text().count("\n") == 1


def test_what_a_killed_run_left_half_written_is_removed(run_folder, make_bag, tmp_path):
    (run_folder / ".results.json.x1y2.part").touch()
    (run_folder / "images/.17.jpg.x1y2.part").touch()
    other = run_folder / ".download.part"
    other.touch()
    assert cli.main(["evaluate", str(tmp_path / "bag"), "--out", str(run_folder), "--resume"]) == 0
    assert list(run_folder.rglob("*.part")) == [other], "what is not ours stays"

"""The five minutes of docs/console.md, step by step as they are written, with the real node and the embedded models."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WALK = (ROOT / "docs" / "console.md").read_text(encoding="utf-8").partition("## Five minutes")[2].partition("\n## ")[0]
DRAWN = "() => document.getElementById('stage').getContext('2d').getImageData(320, 240, 1, 1).data[3] > 0"
"""The stage is transparent until the first image is drawn."""
PROGRAMS = {"reasonseg": ["-m", "reasonseg_ros.cli"], "python": []}


def commands(block):
    """The commands of the n-th block of code, as arguments of a Python interpreter."""
    lines = WALK.split("```")[1 + 2 * block].strip().splitlines()
    words = [shlex.split(line) for line in lines]
    return [[*PROGRAMS[Path(first).name], *rest] for first, *rest in words]


def steps():
    """The values in code of each numbered step, with its words before the first of them."""
    for line in re.findall(r"^\d\. (.+(?:\n   .+)*)", WALK, re.MULTILINE):
        yield line.partition(" `")[0], re.findall(r"`([^`]+)`", line)


def drag(page, corners):
    place = page.locator("#stage").bounding_box()
    across, down = place["width"] / 640, place["height"] / 480
    points = [(place["x"] + x * across, place["y"] + y * down) for x, y in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=5)
    page.mouse.up()


def do(page, words, values):
    """One step, until what it promises is there."""
    text = "([name, text]) => document.getElementById(name)?.textContent.startsWith(text)"
    if words == "Ask":
        shown = page.inner_text("#shown")
        page.fill("#question", values[0])
        page.click("#send")
        page.wait_for_function("shown => document.getElementById('shown').textContent !== shown", arg=shown)
        page.wait_for_function(text, arg=["status", values[1]])
    elif words == "Press":
        page.click(f"text={values[0]}")
        if len(values) > 1:
            page.wait_for_function(text, arg=["score", values[1]])
        else:
            page.wait_for_selector(f"[aria-pressed=true] >> text={values[0]}")
    elif words == "Drag a box from":
        count = page.locator("#targets li").count()
        drag(page, [[int(number) for number in corner.split(", ")] for corner in values])
        page.wait_for_function("n => document.querySelectorAll('#targets li').length > n", arg=count)
        page.wait_for_function("() => document.getElementById('hint').textContent === ''")
        assert "no mask" not in page.inner_text("#targets")
    else:
        pytest.fail(f"unknown step: {words} {values}")


def test_the_walk_of_the_documentation(own_programs, browse, tmp_path):
    player, node, console = commands(0)
    own_programs.start(*[str(ROOT / word) if word.startswith("demo/") else word for word in player])
    own_programs.start(*node)
    truth = str(tmp_path / console[-1])
    address = own_programs.start(*console[:-1], truth, "--port", "0").line(r"^console +(\S+)$")[1]
    page = browse(address)
    page.wait_for_function("() => document.getElementById('node-state').textContent.startsWith('active')")
    page.wait_for_function(DRAWN)
    scores = []
    for words, values in steps():
        do(page, words, values)
        scores += [float(value.split()[-1]) for value in values if "gIoU" in value]
    assert len(scores) == 3
    (evaluate,) = commands(1)
    arguments = [str(tmp_path / word) if word.startswith("out/") else word for word in evaluate]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "out/console/score/summary.json").read_text())
    assert summary["samples"] == 3
    assert summary["giou"] == pytest.approx(scores[-1], abs=6e-4)  # shown with three digits

"""The embedded models without torch and what comes with it: in processes that refuse or note its import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from reasonseg_ros.files.resources import resource

HEAVY = (
    "torch", "torchvision", "transformers", "accelerate", "safetensors", "PIL", "scipy", "sklearn", "onnx", "pyarrow",
    "huggingface_hub",
)  # fmt: skip
WATCHING = f"""
import os
import sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            if "NOTED" in os.environ:
                with open(os.environ["NOTED"], "a") as file:
                    file.write(name + "\\n")
            if "REFUSED" in os.environ:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Watch())
"""


@pytest.fixture
def run(tmp_path):
    """Runs a command of `reasonseg`; it and all processes that it starts refuse the heavy libraries."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCHING)

    def run_verb(*arguments, **variables):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "watch"), **(variables or {"REFUSED": "1"})}
        command = [sys.executable, "-m", "reasonseg_ros.cli", *map(str, arguments)]
        # The demo gives up sooner, and says why.
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    return run_verb


@pytest.fixture
def imported(run, tmp_path):
    """The heavy modules that a command imports or looks for; they are not refused."""

    def imported_by(*arguments, **variables):
        ended = run(*arguments, NOTED=str(tmp_path / "noted"), **variables)
        names = (tmp_path / "noted").read_text().split() if (tmp_path / "noted").exists() else []
        return ended, names

    return imported_by


@pytest.fixture
def image(tmp_path):
    cv2.imwrite(str(tmp_path / "table.png"), np.full((480, 640, 3), 180, np.uint8))
    return tmp_path / "table.png"


def test_the_refusal_works(run, image):
    ended = run("ask", image, "the red mug", "--model", "seg-zero-7b")
    assert ended.returncode == 2
    assert "No module named 'torch'" in ended.stderr and "make setup-models" in ended.stderr


def test_a_segmenter_in_torch_names_the_remedy(run, image):
    ended = run("ask", image, "the red mug", "--segmenter", "sam2.1-tiny")
    assert ended.returncode == 2
    assert "No module named 'torch'" in ended.stderr and "make setup-models" in ended.stderr


def test_a_black_box_is_replayed(run):
    conformance = Path(__file__).resolve().parents[2] / "recording" / "conformance.mcap"
    ended = run("replay", conformance)
    assert ended.returncode == 0, ended.stderr
    assert "5 answers: 5 identical" in ended.stdout or "within tolerance" in ended.stdout


def test_an_image_is_asked_about(run, image):
    ended = run("ask", image, "the red mug")
    assert json.loads(ended.stdout)["status"] in ("no_target", "unsure", "ok"), ended.stderr


def test_imports_are_noted(imported, image):
    pytest.importorskip("torch")
    # Only torch knows this device. Its import is refused as well, as it takes seconds.
    ended, names = imported("ask", image, "the red mug", "--device", "mps", REFUSED="1")
    assert ended.returncode == 2 and "torch" in names, ended.stderr


def test_nothing_heavy_is_imported_where_it_is_installed(imported, image):
    ended, names = imported("ask", image, "a submarine")
    assert ended.returncode == 0 and names == [], ended.stderr


def test_the_demo_and_its_node_import_nothing_heavy(imported, tmp_path):
    pytest.importorskip("rclpy", reason="needs ROS 2's rclpy")
    ended, names = imported("demo", "--bag", resource("demo/tabletop"), "--out", tmp_path / "out")
    assert ended.returncode == 0 and names == [], ended.stdout + ended.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["answers"]) == 10


def test_the_node_with_the_embedded_models_loads_no_client_for_servers():
    """Python's own takes 0.03 s of the start."""
    script = (
        "import sys\n"
        "import reasonseg_ros.ros.node\n"
        "from reasonseg_ros.config import config_from\n"
        "from reasonseg_ros.methods.loading import load_method\n"
        "load_method(config_from({}))\n"
        "print({'http.client', 'urllib.request', 'ssl', 'asyncio'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stdout == "set()\n", done.stderr

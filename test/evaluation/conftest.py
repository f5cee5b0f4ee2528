"""Small bags with questions and ground truth, and a method whose reasoner says what the test wants."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasonseg_ros import bags
from reasonseg_ros.config import Config
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.types import Query

WIDTH, HEIGHT = 64, 48
START_NS = 1_700_000_000 * 10**9
PERIOD_NS = 10**9
IMAGE, QUERY, TRUTH = "/camera/image", "/reasonseg/query", "/reasonseg/ground_truth"


@dataclass(frozen=True)
class Asked:
    """A question of a bag: the true box is its target, none means that nothing fits."""

    query_id: str
    box_xyxy: tuple[int, int, int, int] | None = (8, 8, 24, 24)
    kind: str = "function"
    image: int = 0


def says(*boxes_xyxy: Sequence[int]) -> str:
    """A model's text with these boxes, each with its centre."""
    targets = [
        f'{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}], "point_2d": [{(x1 + x2) // 2}, {(y1 + y2) // 2}]}}'
        for x1, y1, x2, y2 in boxes_xyxy
    ]
    return f"<think>I looked.</think><answer>[{', '.join(targets)}]</answer>"


def _messages(asked: Sequence[Asked], with_truth: bool, with_queries: bool) -> list[tuple[str, Any, int]]:
    rng = np.random.default_rng(5)
    written: list[tuple[str, Any, int]] = []
    for number in range(max((item.image for item in asked), default=0) + 1):
        stamp_ns = START_NS + number * PERIOD_NS
        rgb = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        written.append((IMAGE, bags.image_message(rgb, stamp_ns, "camera"), stamp_ns))
        for item in asked:
            if item.image != number:
                continue
            query = Query(f"question {item.query_id}?", item.query_id)
            mask = np.zeros((HEIGHT, WIDTH), bool)
            if item.box_xyxy:
                x1, y1, x2, y2 = item.box_xyxy
                mask[y1:y2, x1:x2] = True
            if with_queries:
                written.append((QUERY, bags.query_message(query), stamp_ns + 1))
            if with_truth:
                boxes = [item.box_xyxy] if item.box_xyxy else []
                truth = bags.ground_truth_message(
                    query, mask, stamp_ns, "camera", kind=item.kind, thought="because", split="test", boxes_xyxy=boxes
                )
                written.append((TRUTH, truth, stamp_ns + 2))
    return written


@pytest.fixture
def make_bag(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bag. `change` may replace its list of (topic, message, stamp)."""

    def make(
        asked: Sequence[Asked],
        *,
        with_truth: bool = True,
        with_queries: bool = True,
        change: Callable[[list[Any]], list[Any]] = lambda messages: messages,
        name: str = "bag",
    ) -> Path:
        with bags.BagWriter(tmp_path / name) as bag:
            for topic, message, stamp_ns in change(_messages(asked, with_truth, with_queries)):
                bag.write(topic, message, stamp_ns)
        return tmp_path / name

    return make


@pytest.fixture
def scripted() -> Callable[..., SegZero]:
    """A method that fills boxes, and whose reasoner says the given texts in turn."""

    def make(*texts: str) -> SegZero:
        return SegZero(ScriptedReasoner(texts), ScriptedSegmenter("box"), Config())

    return make


@pytest.fixture
def method(scripted: Callable[..., SegZero], monkeypatch: pytest.MonkeyPatch) -> SegZero:
    """What a command loads instead of checkpoints; it answers every question with the box of `Asked`."""
    method = scripted(says(Asked.box_xyxy))
    monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", lambda config, **_: method)
    return method


@pytest.fixture(scope="session")
def samples_of() -> type[Asked]:
    return Asked


@pytest.fixture(scope="session")
def answer_text() -> Callable[..., str]:
    return says


@pytest.fixture
def described() -> dict[str, Any]:
    """Settings of a run, with a name that a careless page would take for an element."""
    return {
        "bag": {"name": "a <bag>", "files": {}},
        "method": "seg_zero",
        "protocol": "lisa",
        "batch_size": 1,
        "seed": 3,
        "versions": {"python": "3"},
        "model_cards": {"reasoner": {"name": "reasoner"}, "segmenter": {"name": "segmenter"}},
    }


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., str]:
    """Opens a page in Chromium, runs a script in it, and gives the elements; fails if the page complained."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs a browser; run `sudo apt install chromium`")

    def open_page(page: Path, address: str = "", script: str = "") -> str:
        if script:
            text = page.read_text(encoding="utf-8")
            page = page.with_name("scripted.html")
            page.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
        command += ["--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
        done = subprocess.run(
            [*command, f"file://{page}{address}"], capture_output=True, text=True, timeout=120, check=True
        )
        assert "CONSOLE" not in done.stderr, done.stderr
        return done.stdout

    return open_page

"""Runs the demo: starts a player and the node as processes, and asks every question of the bag."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from reasonseg_ros.bags import BagReader, BagWriter, header_stamp_ns
from reasonseg_ros.bags.topics import CAMERA_INFO_TOPIC, DEPTH_TOPIC, GROUND_TRUTH_TOPIC, IMAGE_TOPIC
from reasonseg_ros.config import Config
from reasonseg_ros.config.parameter_file import read_parameters
from reasonseg_ros.demo import report
from reasonseg_ros.demo.client import DemoClient
from reasonseg_ros.demo.moving import follow, read_moving
from reasonseg_ros.demo.processes import Child, use_private_ros
from reasonseg_ros.errors import InvalidInput, ReasonSegError
from reasonseg_ros.files.resources import resource
from reasonseg_ros.images.files import write_image
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.images.messages import rgb_from_compressed
from reasonseg_ros.types import BoolMask

HOLD_HZ = 5.0
UNSURE = "the most expensive thing"
"""Asked about the last still image, which shows no prices, to demonstrate an unsure answer."""


@dataclass(frozen=True, eq=False)
class Task:
    """A question of the bag, the stamp of its image, and the mask of its targets, bool [H, W]."""

    query_id: str
    question: str
    kind: str
    stamp_ns: int
    truth: BoolMask


def read_tasks(bag: Path) -> list[Task]:
    """The questions of a bag with ground truth, in the order of their images. Raises InvalidInput if there are none."""
    with BagReader(bag) as reader:
        messages = [message for _, _, message in reader.messages([GROUND_TRUTH_TOPIC])]
    if not messages:
        raise InvalidInput(f"{bag} holds no ground truth; `reasonseg tabletop bag` writes one that does")
    ids = _unique(message.query_id for message in messages)
    tasks = [
        Task(query_id, m.question, m.kind, header_stamp_ns(m.header), decode_mask(m.mask))
        for query_id, m in zip(ids, messages, strict=True)
    ]
    return sorted(tasks, key=lambda task: task.stamp_ns)


def _unique(ids: Iterable[str]) -> list[str]:
    """The ids, changed if empty or repeated, because an answer and its picture are found by their question's id."""
    found: dict[str, None] = {}
    for wanted in ids:
        one = wanted or "question"
        number = 1
        while one in found:
            number += 1
            one = f"{wanted or 'question'}#{number}"
        found[one] = None
    return list(found)


def picture_file(number: int, kind: str) -> str:
    """The file of an answer's overlay. A bag may name its kinds as it likes, also with slashes."""
    named = re.sub(r"[^\w-]+", "_", kind)[:40]
    return f"{number:02d}-{named}.png"


def run_demo(
    bag: Path | None,
    out: Path,
    params: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    min_giou: float = 0.7,
    node_command: Sequence[str] = (sys.executable, "-m", "reasonseg_ros.ros.node"),
) -> int:
    """Ask the node every question of `bag`, and write summary.json, overlays and a result bag to `out`.

    Without a `bag`, asks about the included still and moving scenes. `overrides` are parameters of the node. Returns 0
    if every question was answered, the mean IoU is at least `min_giou` and the moving scene is right, else 1.
    """
    console = Console()
    moving = None if bag else read_moving(resource("demo/tabletop_video"))
    bag = bag or resource("demo/tabletop")
    tasks = read_tasks(bag)
    params = params or resource("config/reasonseg.yaml")
    method = chosen_method(params, overrides or {})
    out.mkdir(parents=True, exist_ok=True)
    for old in [out / "summary.json", out / "moving.mp4", *out.glob("[0-9][0-9]*-*.png")]:
        old.unlink(missing_ok=True)
    with ExitStack() as stack:
        recorder = stack.enter_context(BagWriter(out / "result", force=True))
        use_private_ros()
        node_arguments = _node_arguments(params, overrides or {})
        children = [_start(stack, "node", [*node_command, *node_arguments], out), _start_player(stack, bag, out)]
        found: list[report.Moving] = []

        def check() -> None:
            for child in children:
                child.check()

        client = stack.enter_context(DemoClient(recorder, check))
        try:
            with console.status("Starting the node and loading its models ..."):
                client.wait_until_active()
            results, models = _ask_all(client, tasks, out, console)
            if moving is not None:
                answer, _ = client.ask("unsure", UNSURE, tasks[-1].stamp_ns, lambda _: None)
                console.print(report.unsure_panel(UNSURE, answer))
                children.pop().end()
                children.append(_start_player(stack, moving.bag, out, "video"))
                found = follow(client, moving, out / "moving.mp4", console, method)
        except ReasonSegError as error:
            _explain(console, error, children)
            return 1
    report.write_summary(out / "summary.json", results, found, min_giou, models)
    report.print_total(console, results, found, min_giou, out)
    return 0 if report.passed(results, found, min_giou) else 1


def chosen_method(params: Path, overrides: Mapping[str, str]) -> str:
    """The node's method with this parameter file and overrides. Raises ConfigError if the file cannot be read."""
    return str({"method": Config().method, **read_parameters(params), **overrides}["method"])


def _node_arguments(params: Path, overrides: Mapping[str, str]) -> list[str]:
    # The player publishes few images, so none may be lost.
    parameters = {"camera.reliability": "reliable", **overrides}
    arguments = ["--ros-args", "-r", f"image:={IMAGE_TOPIC}", "-r", f"camera_info:={CAMERA_INFO_TOPIC}"]
    arguments += ["-r", f"depth:={DEPTH_TOPIC}", "--params-file", str(params)]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={value}"]
    return arguments


def _start_player(stack: ExitStack, bag: Path, out: Path, name: str = "player") -> Child:
    with BagReader(bag) as reader:
        topics = [topic for topic in (IMAGE_TOPIC, CAMERA_INFO_TOPIC, DEPTH_TOPIC) if topic in reader.topics]
    play = [sys.executable, "-m", "reasonseg_ros.cli", "play", str(bag), "--hold", str(HOLD_HZ)]
    return _start(stack, name, [*play, "--topics", *topics], out)


def _start(stack: ExitStack, name: str, command: list[str], out: Path) -> Child:
    with _signals_later():
        child = Child(name, command, out / "logs" / f"{name}.log")
        stack.callback(child.end)
    stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the shutdown
    return child


@contextmanager
def _signals_later() -> Iterator[None]:
    """Delay signals that end the demo until the block ends, so that no started process is left running."""
    kept: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _: kept.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for kept_number in kept:
            signal.raise_signal(kept_number)


def _ask_all(
    client: DemoClient, tasks: list[Task], out: Path, console: Console
) -> tuple[list[report.Result], dict[str, str]]:
    results: list[report.Result] = []
    models: dict[str, str] = {}
    for number, task in enumerate(tasks, 1):
        title = (number, len(tasks), task.kind, task.question)
        client.show(task.stamp_ns)
        with Live(report.panel(*title, "..."), console=console, refresh_per_second=8, transient=True) as live:

            def on_reasoning(message: Any, live: Live = live, title: tuple[int, int, str, str] = title) -> None:
                live.update(report.panel(*title, message.thought or "..."))
                if message.model:
                    models["reasoner"] = message.model

            answer, overlay = client.ask(task.query_id, task.question, task.stamp_ns, on_reasoning)
            picture = picture_file(number, task.kind) if overlay else ""
            if overlay:
                write_image(out / picture, rgb_from_compressed(overlay))
            results.append(_result(task, answer, picture))
        console.print(report.panel(*title, answer.thought, results[-1]))
    return results, models


def _result(task: Task, answer: Any, picture: str) -> report.Result:
    return report.Result(
        question=task.question,
        kind=task.kind,
        thought=answer.thought,
        status=answer.status,
        boxes=[[region.box.x1, region.box.y1, region.box.x2, region.box.y2] for region in answer.regions],
        iou=round(report.answer_iou(answer, task.truth), 4),
        seconds=round(answer.total_s, 3),
        mask_scores=[round(region.mask_score, 4) for region in answer.regions],
        error=answer.error,
        stamp_ns=header_stamp_ns(answer.header),
        overlay=picture,
        boxes_3d=[report.box_in_space(answer, region) for region in answer.regions if region.has_3d],
        confidence=round(answer.confidence, 3) if answer.has_confidence else None,
    )


def _explain(console: Console, error: ReasonSegError, children: list[Child]) -> None:
    console.print(f"The demo failed: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    for child in children:
        lines = child.last_lines()
        if lines and str(child.log) not in str(error):
            console.print(f"The end of {child.log}:\n{lines}", markup=False, highlight=False, soft_wrap=True)

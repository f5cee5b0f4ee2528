"""A soak: the real node for a long time on streams that misbehave, with random questions, cancels and toggles.

    python -m benchmarks.soak [VIDEO ...] [--seconds 600] [--rate 5] [--tabletop 4] [--seed 0] [--out FILE.json]
                              [--node -p NAME:=VALUE ...]

The node, the camera (`camera.py`) and the user are separate processes. The end of every question is counted. Every
thirty seconds the user clears everything. When nothing is asked or tracked and the node has returned freed memory, its
memory, threads and open files are recorded. Prints one JSON object. The exit status is 1, and `failures` says why, if
the node ended or wrote a traceback, if a question has no end or several, if memory grows or may grow (`growth.py`), or
if threads or files grow.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rclpy

from benchmarks.results import commit, library_versions, machine
from benchmarks.soak.growth import Growth, after_warm_up, count_grows, growth, usage
from benchmarks.soak.report import markdown
from benchmarks.soak.user import User
from reasonseg_ros.demo.processes import reserve_domain
from reasonseg_ros.ros.process.memory import PERIOD_S

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_S = 30.0
LOADING_SHARE = 0.4
"""Share of the time after which models are not loaded again, so that growth can be seen."""
REST_S = 60.0
"""Longest time until a cleared node is at rest."""
GIVEN_BACK_S = PERIOD_S + 1.0
"""Time in which a node at rest returns freed memory once. The minimum in this time is recorded, because images continue
to arrive and single samples differ by 100 MB and more."""
LOOK_S = 0.5


def soak(user: User, node: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """Let the user act at random for `seconds`, then wait until every question has ended."""
    samples: list[dict[str, float]] = []
    start_s = user.awake_s

    def look() -> dict[str, float]:
        user.watch(LOOK_S)
        return {"images": user.received, "kept_mb": user.kept_mb, **usage(node.pid)}

    def note() -> None:
        looks = [look() for _ in range(math.ceil(GIVEN_BACK_S / LOOK_S))]
        now_s = user.awake_s
        when = {"second": round(now_s - start_s), "loads": user.loads, "loaded_for_s": round(now_s - user.loaded_s)}
        samples.append({**when, **min(looks, key=lambda each: each["memory_mb"] - each["kept_mb"])})
        print(samples[-1], file=sys.stderr, flush=True)

    while (now_s := user.awake_s - start_s) < seconds and node.poll() is None:
        if now_s >= len(samples) * SAMPLE_S and user.rest(REST_S):
            note()
        user.may_load_again = now_s < LOADING_SHARE * seconds
        user.act()
    open_questions = user.finish(REST_S) if node.poll() is None else list(user.open)
    if node.poll() is None:
        note()
    steady = after_warm_up(samples) or samples
    grows = growth(after_warm_up(samples))
    return {
        "seconds": round(user.awake_s - start_s, 1),
        "images_received": user.received,
        "actions": dict(sorted(user.actions.items())),
        "questions": len(user.questions),
        "ends": {
            way: dict(sorted(Counter(q.ended for q in user.questions.values() if q.way == way).items()))
            for way in sorted({q.way for q in user.questions.values()})
        },
        "segmentations": user.segmentations,
        "carried": user.carried,
        "followed": user.followed,
        "results_in_space": user.in_space,
        "reasons": dict(user.reasons.most_common(20)),
        "without_an_end": open_questions,
        "wrong": user.wrong[:20],
        "memory_growth_mb_per_1000_images": {name: round(value, 2) for name, value in asdict(grows).items()},
        "threads": [int(samples[0]["threads"]), int(steady[0]["threads"]), int(samples[-1]["threads"])],
        "files": [int(samples[0]["files"]), int(steady[0]["files"]), int(samples[-1]["files"])],
        "samples": samples,
    }


def _tracebacks(log: str) -> int:
    """Number of tracebacks without those of injected faults, which end with a known line."""
    return log.count("Traceback (most recent call last)") - len(
        re.findall(r"^\w+Error: injected fault$", log, re.MULTILINE)
    )


def failures(result: dict[str, Any]) -> list[str]:
    found = []
    if result["node_exit_code"] != 0 or result["tracebacks"]:
        found.append(f"the node ended with {result['node_exit_code']}, {result['tracebacks']} tracebacks")
    if result["without_an_end"]:
        found.append(f"{len(result['without_an_end'])} questions have no end")
    if result["wrong"]:
        found.append(f"wrong: {result['wrong'][0]}")
    found += Growth(**result["memory_growth_mb_per_1000_images"]).faults()
    found += [f"{name} grow: {result[name]}" for name in ("threads", "files") if count_grows(result[name])]
    return found


def run(
    node_command: Sequence[str], camera_command: Sequence[str], seconds: float, seed: int, domain_id: int
) -> dict[str, Any]:
    """The whole soak. This Python runs both commands, in that ROS domain."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    context = rclpy.Context()
    with tempfile.TemporaryFile("w+") as log:
        start: Callable[..., subprocess.Popen[str]] = subprocess.Popen
        node = start([sys.executable, *node_command], env=environment, cwd=ROOT, stderr=log, text=True)
        camera = start([sys.executable, *camera_command], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        user = None
        try:
            rclpy.init(context=context, domain_id=domain_id)
            user = User(context, random.Random(seed))
            user.wait_for_node(300.0, lambda: node.poll() is None and camera.poll() is None)
            result = soak(user, node, seconds)
        finally:
            for process in (camera, node):
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            published = camera.communicate(timeout=60)[0]
            node.wait(60)
            if user is not None:
                user.destroy_node()
            context.try_shutdown()
        log.seek(0)
        words = log.read()
    result["camera"] = json.loads(published.splitlines()[-1])
    result["node_exit_code"], result["tracebacks"] = node.returncode, _tracebacks(words)
    result["node_errors"] = sorted({line[:300] for line in words.splitlines() if "[ERROR]" in line})[:10]
    result["first_traceback"] = words[words.index("Traceback") :][:2000] if result["tracebacks"] else ""
    result["load_average"] = [round(value, 1) for value in os.getloadavg()]
    result["failures"] = failures(result)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", help="footage, played between the tabletop videos")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=5.0, help="images per second (default: %(default)s)")
    parser.add_argument("--tabletop", type=int, default=4, help="tabletop videos to render (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the JSON there as well, and a summary as .md")
    parser.add_argument("--camera", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--node", nargs=argparse.REMAINDER, default=[], help="ROS arguments of the node")
    chosen = parser.parse_args()
    if chosen.camera:
        from benchmarks.soak.camera import run as publish

        publish(chosen.videos, chosen.tabletop, chosen.rate, chosen.seed)
        return 0
    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds_shm.xml"))
    stream = ["--rate", str(chosen.rate), "--tabletop", str(chosen.tabletop), "--seed", str(chosen.seed)]
    about = machine()
    # The buffer has the same size for all images, so that memory can be compared. No answer may be lost.
    fixed = ["-p", "stream.buffer_mb:=50", "-p", "output.depth:=1000"]
    domain_id, reservation = reserve_domain()
    with reservation:
        result = run(
            ["-m", "reasonseg_ros.ros.node", "--ros-args", *fixed, *chosen.node],
            ["-m", "benchmarks.soak", *chosen.videos, "--camera", *stream],
            chosen.seconds,
            chosen.seed,
            domain_id,
        )
    words = [Path(word).name if word in chosen.videos else word for word in sys.argv[1:]]
    about_run: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.soak", *words]),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "machine": about,
        "versions": library_versions(),
    }
    text = json.dumps({**about_run, **result}, indent=1)
    if chosen.out:
        chosen.out.write_text(text + "\n", encoding="utf-8")
        chosen.out.with_suffix(".md").write_text(markdown({**about_run, **result}), encoding="utf-8")
    print(text)
    return 1 if result["failures"] else 0

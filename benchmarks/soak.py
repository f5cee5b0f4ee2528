"""A soak: the real node for a long time on streams that misbehave, with random questions, cancels and toggles.

    python -m benchmarks.soak [VIDEO ...] [--seconds 600] [--rate 5] [--tabletop 4] [--seed 0] [--out FILE.json]
                              [--node -p NAME:=VALUE ...]

The node, the camera (`soak_camera.py`) and the user are a process each. Counted is how every question ends; memory,
threads and open files of the node are noted every ten seconds. Prints one JSON object. Exit status 1 and `failures` in
it where the node ended or wrote a traceback, a question has no end or more than one, memory grows by more than 1 MB in
1,000 images after the first fifth of the time (see `growth`), or threads or files grow.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy

from benchmarks.soak_user import User

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_S = 10.0
WARM_UP_SHARE = 0.2
MOST_GROWTH_MB = 1.0
"""In 1,000 images."""
MOST_FURTHER = 4
"""Threads, and open files, more at the end than after the warm-up; ROS opens some as clients come."""


def usage(pid: int) -> dict[str, float]:
    """Resident memory in MB, threads and open files of a process."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return {
        "memory_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "threads": len(list((process / "task").iterdir())),
        "files": len(list((process / "fd").iterdir())),
    }


def growth(samples: Sequence[dict[str, float]], name: str) -> float:
    """Of `name` in 1,000 images: how far its least value in the second half lies above that in the first.

    What a question needs for a while (a look back decodes up to 32 images) rises far above this floor and goes again;
    what is never given back raises the floor.
    """
    middle = len(samples) // 2
    if not middle:
        return 0.0
    halves = [min(half, key=lambda sample: sample[name]) for half in (samples[:middle], samples[middle:])]
    images = samples[-1]["images"] - samples[0]["images"]
    return 1000 * (halves[1][name] - halves[0][name]) / max(images / 2, 1)


def soak(user: User, node: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """Let the user do what it likes for so long, then wait until every question has ended."""
    samples: list[dict[str, float]] = []
    start_s = time.monotonic()
    while (now_s := time.monotonic() - start_s) < seconds and node.poll() is None:
        if now_s >= len(samples) * SAMPLE_S:
            samples.append({"second": round(now_s), "images": user.received, **usage(node.pid)})
            print(samples[-1], file=sys.stderr)
        user.act()
    open_questions = user.finish(60.0) if node.poll() is None else list(user.open)
    samples.append({"second": round(time.monotonic() - start_s), "images": user.received, **usage(node.pid)})
    steady = samples[int(WARM_UP_SHARE * len(samples)) :]
    return {
        "seconds": round(time.monotonic() - start_s, 1),
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
        "memory_growth_mb_per_1000_images": round(growth(steady, "memory_mb"), 2),
        "threads": [int(samples[0]["threads"]), int(steady[0]["threads"]), int(samples[-1]["threads"])],
        "files": [int(samples[0]["files"]), int(steady[0]["files"]), int(samples[-1]["files"])],
        "memory_mb_every_10_s": [round(sample["memory_mb"]) for sample in samples],
        "images_every_10_s": [int(sample["images"]) for sample in samples],
    }


def failures(result: dict[str, Any]) -> list[str]:
    found = []
    if result["node_exit_code"] != 0 or result["tracebacks"]:
        found.append(f"the node ended with {result['node_exit_code']}, {result['tracebacks']} tracebacks")
    if result["without_an_end"]:
        found.append(f"{len(result['without_an_end'])} questions have no end")
    if result["wrong"]:
        found.append(f"wrong: {result['wrong'][0]}")
    if result["memory_growth_mb_per_1000_images"] > MOST_GROWTH_MB:
        found.append(f"memory grows by {result['memory_growth_mb_per_1000_images']} MB in 1,000 images")
    found += [f"{name} grow: {result[name]}" for name in ("threads", "files") if _grows(result[name])]
    return found


def _grows(counts: Sequence[int]) -> bool:
    return counts[2] > counts[1] + MOST_FURTHER


def run(
    node_command: Sequence[str], camera_command: Sequence[str], seconds: float, seed: int, domain_id: int
) -> dict[str, Any]:
    """The whole soak. Both commands are run by this Python, on that ROS domain."""
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
            user.wait_for_node(300.0)
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
    result["node_exit_code"], result["tracebacks"] = node.returncode, words.count("Traceback")
    result["node_errors"] = sorted({line[:300] for line in words.splitlines() if "[ERROR]" in line})[:10]
    result["first_traceback"] = words[words.index("Traceback") :][:2000] if result["tracebacks"] else ""
    result["load_average"] = [round(value, 1) for value in os.getloadavg()]
    result["failures"] = failures(result)
    return result


def free_domain() -> int:
    """A ROS domain in which nobody is seen."""
    for domain_id in random.sample(range(1, 101), 10):
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain_id)
        node = rclpy.create_node("soak_probe", context=context)
        time.sleep(2.0)
        names = node.get_node_names()
        node.destroy_node()
        context.try_shutdown()
        if names == ["soak_probe"]:
            return domain_id
    raise SystemExit("ten ROS domains are all in use")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", help="footage, played between the tabletop videos")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=5.0, help="images a second (default: %(default)s)")
    parser.add_argument("--tabletop", type=int, default=4, help="tabletop videos to render (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the JSON there as well")
    parser.add_argument("--camera", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--node", nargs=argparse.REMAINDER, default=[], help="ROS arguments of the node")
    chosen = parser.parse_args()
    if chosen.camera:
        from benchmarks.soak_camera import run as publish

        publish(chosen.videos, chosen.tabletop, chosen.rate, chosen.seed)
        return 0
    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds_shm.xml"))
    stream = ["--rate", str(chosen.rate), "--tabletop", str(chosen.tabletop), "--seed", str(chosen.seed)]
    # A buffer of one size whatever the images', so that memory can be compared; no answer may be lost on its way here.
    fixed = ["-p", "stream.buffer_mb:=50", "-p", "output.depth:=1000"]
    result = run(
        ["-m", "reasonseg_ros.ros.node", "--ros-args", *fixed, *chosen.node],
        ["-m", "benchmarks.soak", *chosen.videos, "--camera", *stream],
        chosen.seconds,
        chosen.seed,
        free_domain(),
    )
    text = json.dumps({"command": sys.argv[1:], **result}, indent=1)
    if chosen.out:
        chosen.out.write_text(text + "\n")
    print(text)
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())

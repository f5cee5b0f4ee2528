"""How the node is served, for as long as it runs."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import gc, threading
import rclpy
from rclpy.executors import SingleThreadedExecutor
from reasonseg_ros.ros.process.serving import spin

class Stop:
    def wait_for_callbacks(self, on_stop):
        self.on_stop = on_stop

rclpy.init()
node, executor, stop = rclpy.create_node("served"), SingleThreadedExecutor(), Stop()
executor.add_node(node)
counts = []

def work():
    counts.append(len(gc.get_objects()))
    if len(counts) == 200:
        raise ValueError("of a callback")
    if len(counts) == 1000:
        threading.Thread(target=stop.on_stop).start()  # as the thread of the signals does

node.create_timer(0.001, work)
spin(node, executor, stop)
assert 1000 <= len(counts) < 2000, len(counts)
assert max(counts[500:1000]) - counts[100] < 200, counts[100::100]
node.destroy_node()
rclpy.shutdown()
"""


def test_callbacks_leave_nothing_behind_and_a_stop_ends_the_spinning():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "a callback failed, the node goes on: ValueError('of a callback')" in done.stderr


def test_a_stop_ends_a_node_that_has_nothing_to_do():
    idle = SCRIPT.partition("counts = []")[0] + (
        "threading.Timer(1.0, lambda: stop.on_stop()).start()\nspin(node, executor, stop)\nprint('ended')\n"
    )
    done = subprocess.run([sys.executable, "-c", idle], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0 and done.stdout == "ended\n", done.stderr

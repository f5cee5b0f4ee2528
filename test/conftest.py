"""What all tests share."""

import gc
import os
import re
import shutil
import signal
from pathlib import Path

import hypothesis
import pytest

SNAPSHOTS = Path(__file__).parent / "snapshots"

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; the threads of one would wait for those of the others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A test that asks for two threads has them sleep, not spin, while one waits for the other.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

WAITING = ("test/ros/", "test/evaluation/test_ray_cluster.py", "test/reasoner/test_transformers_serve.py")
"""Files whose tests mostly wait for other processes and messages."""
MOST_WAITING = 2
"""How many workers run such files at once, so that messages still come in time."""
LONG = (
    "test/ros/clients/test_mcp.py", "test/ros/clients/test_light_install.py", "test/ros/clients/test_demo.py",
    "test/ros/clients/test_asking.py",
    "test/ros/console/test_console.py", "test/export", "test/reasoner/onnx", "test/benchmarks/test_rows.py",
    "test/training/reinforcement/test_embedded.py", "test/training/reasoner/test_run.py", "test/hub/test_fetching.py",
    "test/reasoner/export/test_reasoner_export.py", "test/benchmarks/test_node_rows.py",
    "test/training/segmenter/points/test_points.py", "test/training/segmenter/memory/test_run.py",
    "test/recording/test_conformance.py", "test/injection/test_embedded_models.py",
)  # fmt: skip
"""Files of few tests that take more than 5 s, or folders (`TOGETHER`). No worker shall be left with one at the end."""
TOGETHER = ("test/export/", "test/reasoner/onnx/")
"""Folders whose files share exports."""


# An example that takes long says that the machine is busy, and nothing about the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


SHARED_MEMORY = Path("/dev/shm")
ROOM_BYTES = 8 << 30
"""A run writes up to 2 GB."""


def pytest_configure(config):
    # On a disk, tests would wait for files that are synchronised, and a run's end for the removal of an earlier run's.
    if not hasattr(config, "workerinput") and has_room(SHARED_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(SHARED_MEMORY))
    # A runner in the background ignores Ctrl-C, and so would the processes that tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def has_room(folder):
    """Whether there is memory for the tests' files, and programs that they build may run from the folder."""
    try:
        system = os.statvfs(folder)
        available_bytes = 1024 * int(re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())[1])
    except (OSError, TypeError):
        return False
    free_bytes = min(system.f_bavail * system.f_frsize, available_bytes)
    return os.access(folder, os.W_OK) and not system.f_flag & os.ST_NOEXEC and free_bytes > ROOM_BYTES


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Leave out what is imported, a million objects, while that lasts and whenever the garbage collector is called.

    Each time it would go through them for half a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Give the memory back, unless a test failed and its files may be looked at."""
    gc.unfreeze()  # libraries complain about what is left when Python ends
    folder = session.config._tmp_path_factory._basetemp
    if exitstatus == 0 and folder is not None and SHARED_MEMORY in folder.parents:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests go to one worker, which makes the file's fixtures once; so do the tests that share an export.

    Files that mostly wait come first, on some of the workers, while the others compute. Of each the long ones begin.
    """
    from xdist.scheduler import LoadScopeScheduling

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return next((folder.rstrip("/") for folder in TOGETHER if file.startswith(folder)), file)

        def _assign_work_unit(self, node):
            others = [units for other, units in self.assigned_work.items() if other is not node]
            waiting = sum(any(not all(units[file].values()) for file in units if is_waiting(file)) for units in others)
            preferred = waiting < MOST_WAITING
            chosen = min(self.workqueue, key=lambda file: (is_waiting(file) != preferred, place(file)))
            self.workqueue.move_to_end(chosen, last=False)
            super()._assign_work_unit(node)

    return FileScheduling(config, log)


def is_waiting(file):
    return file.startswith(WAITING)


def place(file):
    return LONG.index(file) if file in LONG else len(LONG)


@pytest.fixture
def snapshot():
    """Compares a text with `test/snapshots/NAME.txt`. With UPDATE_SNAPSHOTS=1 in the environment it writes the file."""

    def compare(name, text):
        path = SNAPSHOTS / f"{name}.txt"
        if os.environ.get("UPDATE_SNAPSHOTS") == "1":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{path} differs; if that is meant, run UPDATE_SNAPSHOTS=1"

    return compare

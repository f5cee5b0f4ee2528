"""Configuration of all tests: scheduling, temporary folders, garbage collection and snapshots."""

import atexit
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
    # Workers share the cores, so more threads per worker would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # In a test with two threads, a waiting thread sleeps instead of spinning.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

WAITING = ("test/ros/", "test/evaluation/test_ray_cluster.py", "test/reasoner/test_transformers_serve.py")
"""Files whose tests mostly wait for other processes and messages."""
MOST_WAITING = 2
"""Maximum workers that run such files at the same time, so that messages still arrive in time."""
LONG = (
    "test/ros/console/test_console.py", "test/ros/clients/test_light_install.py", "test/ros/clients/test_readme.py",
    "test/ros/node/test_final_messages.py", "test/ros/node/test_every_fault.py", "test/ros/clients/test_mcp.py",
    "test/ros/clients/test_asking.py", "test/ros/clients/test_demo.py", "test/ros/clients/test_playing.py",
    "test/export", "test/reasoner/onnx", "test/benchmarks/test_rows.py",
    "test/benchmarks/test_formats.py", "test/benchmarks/test_learning.py",
    "test/training/reinforcement/test_embedded.py", "test/training/reasoner/test_run.py", "test/hub/test_fetching.py",
    "test/reasoner/export/test_reasoner_export.py", "test/benchmarks/test_node_rows.py",
    "test/training/segmenter/points/test_points.py", "test/training/segmenter/memory/test_run.py",
    "test/recording/test_conformance.py", "test/injection/test_embedded_models.py",
)  # fmt: skip
"""Slow files (tests of more than 5 s) or folders (`TOGETHER`). They start first, so that none is left for the end."""
TOGETHER = ("test/export/", "test/reasoner/onnx/")
"""Folders whose files share exports."""


# A slow example shows that the machine is busy, and nothing about the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


SHARED_MEMORY = Path("/dev/shm")
COLLECTION_THRESHOLDS = 10_000, 10, 10
"""Of the garbage collector. With Python's own 700 objects it takes 6% of the time of an export."""
ROOM_BYTES = 8 << 30
"""Minimum free memory for the tests' files. A run writes up to 2 GB."""


def pytest_configure(config):
    # On a disk, tests would wait for fsync, and the end of a run for the removal of earlier files.
    if not hasattr(config, "workerinput") and has_room(SHARED_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(SHARED_MEMORY))
    # A runner in the background ignores SIGINT, and its child processes, which tests interrupt, would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def has_room(folder):
    """Whether the folder has enough memory for the tests' files, and allows programs to run from it."""
    try:
        system = os.statvfs(folder)
        available_bytes = 1024 * int(re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())[1])
    except (OSError, TypeError):
        return False
    free_bytes = min(system.f_bavail * system.f_frsize, available_bytes)
    return os.access(folder, os.W_OK) and not system.f_flag & os.ST_NOEXEC and free_bytes > ROOM_BYTES


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Exclude the imported objects, about a million, from garbage collection.

    Each collection would otherwise take half a second, one before this exclusion too.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(*COLLECTION_THRESHOLDS)
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """Let each worker collect from another place on, so that they share the compilation of tests in a new clone.

    Otherwise all of them would compile the same file at the same time.
    """
    worker = getattr(session.config, "workerinput", None)
    folders = [Path(argument) for argument in session.config.args]
    if worker and len(folders) == 1 and folders[0].is_dir():
        names = sorted(str(path) for path in folders[0].iterdir() if path.is_dir() or path.name.startswith("test_"))
        names = [name for name in names if not name.endswith("__pycache__")]
        start = int(worker["workerid"].removeprefix("gw")) * len(names) // worker["workercount"]
        session.config.args[:] = names[start:] + names[:start]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Give all workers the same order, before pytest brings together what shares a fixture."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Remove the tests' files from memory, unless a test failed and they may be needed."""
    # Else libraries warn about remaining objects at exit. Not now, as pytest's plugins still collect twice.
    atexit.register(gc.unfreeze)
    folder = session.config._tmp_path_factory._basetemp
    if exitstatus == 0 and folder is not None and SHARED_MEMORY in folder.parents:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Run a file's tests, or those that share an export, in one worker, so that fixtures are made once.

    Files that mostly wait run first on some of the workers, while the others compute. Slow files start first.
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
    """Compares a text with `test/snapshots/NAME.txt`. With UPDATE_SNAPSHOTS=1 in the environment, writes the file."""

    def compare(name, text):
        path = SNAPSHOTS / f"{name}.txt"
        if os.environ.get("UPDATE_SNAPSHOTS") == "1":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{path} differs; if that is meant, run UPDATE_SNAPSHOTS=1"

    return compare

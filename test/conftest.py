"""What all tests share."""

import os
import signal
from pathlib import Path

import pytest

SNAPSHOTS = Path(__file__).parent / "snapshots"

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; the threads of one would wait for those of the others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure():
    # A runner in the background ignores Ctrl-C, and so would the processes that tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests go to one worker, which makes the file's fixtures once; so do the tests that share an export."""
    from xdist.scheduler import LoadScopeScheduling

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return "test/export" if file.startswith("test/export/") else file

    return FileScheduling(config, log)


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

"""What the node's process does with memory."""

import ctypes
import gc
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

import pytest

from reasonseg_ros.ros.process.memory import frozen_models, release_models

ROOT = Path(__file__).resolve().parents[3]
SHARED = """
import time
from pathlib import Path

class Ring:
    def __init__(self):
        self.itself = self

def wait_while(lasts):
    deadline_s = time.monotonic() + 60
    while lasts():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
"""
"""What the scripts below use."""


def run_alone(script):
    """Memory and the collector belong to a process, so each script has a fresh one."""
    command = [sys.executable, "-c", SHARED + script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_freed_memory_goes_back_to_the_system_from_between_what_lives_on():
    script = """
import numpy as np
from reasonseg_ros.ros.process import memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

before = resident_mb()
blocks, small = [], []
for _ in range(1000):
    blocks.append(np.ones(100_000, np.uint8))
    small.append(bytes(1_000))
del blocks
assert resident_mb() - before > 80
memory.PERIOD_S = 0.1
memory.trim_regularly()
wait_while(lambda: resident_mb() - before > 20)
"""
    run_alone(script)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_rings_are_collected_though_the_collector_would_wait():
    script = """
import gc, weakref
from reasonseg_ros.ros.process import memory

gc.set_threshold(10**9)  # of itself it collects nothing
known = weakref.ref(Ring())
memory.PERIOD_S = 0.1
memory.trim_regularly()
wait_while(lambda: known() is not None)
"""
    run_alone(script)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_models_that_an_ending_question_held_are_collected_after_the_next_are_loaded():
    script = """
import gc, weakref
from reasonseg_ros.ros.process import memory

with memory.frozen_models():
    model = Ring()
known = weakref.ref(model)
memory.release_models()
with memory.frozen_models():
    others = Ring()
del model
gc.collect()
assert known() is not None
memory.PERIOD_S = 0.1
memory.trim_regularly()
wait_while(lambda: known() is not None)
wait_while(lambda: memory._late.periods)
time.sleep(0.2)
wait_while(lambda: gc.get_freeze_count() == 0)
"""
    run_alone(script)


def test_the_collector_rests_while_something_loads_and_leaves_it_out_afterwards(process_collector):
    known, rested = gc.get_freeze_count(), []

    def load():
        with frozen_models():
            rested.append(not gc.isenabled())
            raise ValueError("a checkpoint is damaged")

    try:
        with pytest.raises(ValueError, match="damaged"):
            load()
        assert rested == [True]
        assert gc.isenabled()
        assert gc.get_freeze_count() > known
    finally:
        gc.unfreeze()


class Model:
    """A ring of one object, as torch's modules are rings of many."""

    def __init__(self):
        self.itself = self


def test_released_models_are_gone_before_others_are_frozen(process_collector):
    known = []
    for _ in range(2):
        with frozen_models():
            model = Model()
        known.append(weakref.ref(model))
        del model
        release_models()
        assert [one() for one in known] == [None] * len(known)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library is not glibc")
def test_threads_share_heaps_so_that_one_uses_what_another_freed():
    script = """
import ctypes, re, threading
from reasonseg_ros.ros.process import memory

memory.trim_regularly()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
meet = threading.Barrier(8)

def work():
    meet.wait()
    for _ in range(2000):  # without Python's lock, so threads meet in the allocator
        assert library.malloc(5_000)

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library.fopen.restype, library.fclose.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
library.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
file = library.fopen(b"PATH", b"w")
assert library.malloc_info(0, file) == 0
library.fclose(file)
heaps = re.findall("<heap nr=", Path("PATH").read_text())
assert 1 <= len(heaps) <= memory.HEAPS, heaps
"""
    with tempfile.NamedTemporaryFile() as file:
        run_alone(script.replace("PATH", file.name))

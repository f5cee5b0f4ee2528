"""`kill -9` of a process that records: every black box in its folder is whole, and its leftovers are removed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from reasonseg_ros.recording.folder import BoundedFolder
from reasonseg_ros.recording.reading import read_black_boxes
from test.recording.boxes import black_box, noisy_frame, write_box

ROOT = Path(__file__).parents[2]
TIMES = 40 if os.environ.get("REASONSEG_EVERY_CALL") == "1" else 6
MAX_BYTES = 2_000_000
SCRIPT = """
import sys
from pathlib import Path
from reasonseg_ros.recording.folder import BoundedFolder, file_name
folder, number, most_bytes = BoundedFolder(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
content = Path(sys.argv[4]).read_bytes()
print("begins", flush=True)
while True:
    seconds, milliseconds = divmod(number, 1000)
    name = file_name(f"2026-11-28T00:{seconds // 60:02}:{seconds % 60:02}.{milliseconds:03}Z", "ok", f"q{number}")
    folder.keep(name, content, most_bytes)
    number += 1
"""


def record_until_killed(folder: Path, first: int, content: Path, delay_s: float) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, str(folder), str(first), str(MAX_BYTES), str(content)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout and process.stdout.readline().startswith("begins")
        time.sleep(delay_s)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        assert process.stdout
        process.stdout.close()


def test_a_recording_that_is_killed_at_any_moment_leaves_whole_black_boxes_only(tmp_path: Path) -> None:
    folder = BoundedFolder(tmp_path / "boxes")
    around = [noisy_frame(seed, 10**18 + seed) for seed in range(1, 40)]
    content = write_box(tmp_path / "content.mcap", black_box(), around)
    written = 0
    for number in range(TIMES):
        delay_s = random.SystemRandom().uniform(0.0, 0.6)
        record_until_killed(folder.path, number * 10_000, content, delay_s)
        files = folder.files() if folder.path.is_dir() else {}
        for path in files:
            (box,) = read_black_boxes(path)
            assert box.segmentation is not None and len(box.frames) == 1, f"{path} after {delay_s:.3f} s"
        assert sum(files.values()) <= MAX_BYTES
        written += len(files)
        leftovers = set(folder.path.glob("*")) | set(folder.path.glob(".*")) if folder.path.is_dir() else set()
        half = leftovers - set(files)
        assert all(path.name.endswith(".part") for path in half)
        if folder.path.is_dir():
            folder.remove_half_written()
            assert set(folder.path.iterdir()) == set(files)
    assert written, "no black box was written before a kill"

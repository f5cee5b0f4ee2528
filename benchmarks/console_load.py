"""Live images and CPU time of the web console, by the number of browsers: `python -m benchmarks.console_load`.

A player publishes the demo's images (640 x 480, with depth) at 30 Hz. The console runs in another process, and every
browser is a headless Chromium page. Images are counted as drawn when the page says so to the console.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reasonseg_ros.demo.processes import use_private_ros
from reasonseg_ros.files.resources import resource

CAMERA_HZ = 30
SETTLE_S = 5.0
COUNT = """
window.drawnImages = 0;
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  if (data === "drawn") window.drawnImages += 1;
  return send.call(this, data);
};
"""
COUNTED = "() => [window.drawnImages, performance.now()]"


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(address: str, pid: int, browsers: int, limit_s: float) -> tuple[list[float], float]:
    """Images per second of each browser, and the console's CPU time as a share of one core."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        pages = []
        for _ in range(browsers):
            page = browser.new_context().new_page()
            page.add_init_script(COUNT)
            page.goto(address)
            page.wait_for_function("() => window.drawnImages > 2", timeout=60_000)
            pages.append(page)
        time.sleep(SETTLE_S)
        before = [page.evaluate(COUNTED) for page in pages]
        begin_s, begin_cpu_s = time.monotonic(), cpu_s(pid)
        time.sleep(limit_s)
        wall_s, used_s = time.monotonic() - begin_s, cpu_s(pid) - begin_cpu_s
        after = [page.evaluate(COUNTED) for page in pages]
        browser.close()
    spans = [(b[0] - a[0], (b[1] - a[1]) / 1000) for a, b in zip(before, after, strict=True)]
    return [images / span_s for images, span_s in spans], used_s / wall_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browsers", nargs="+", type=int, default=[0, 1, 5])
    parser.add_argument("--limit-s", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=10.0, help="the console's option")
    settings = parser.parse_args()
    use_private_ros()
    reasonseg = [sys.executable, "-u", "-m", "reasonseg_ros.cli"]
    topics = ["--topics", "/camera/image", "/camera/camera_info", "/camera/depth"]
    player = subprocess.Popen([*reasonseg, "play", str(resource("demo/tabletop")), "--hold", str(CAMERA_HZ), *topics])
    with tempfile.TemporaryDirectory() as folder:
        console = subprocess.Popen(
            [*reasonseg, "console", "--port", "0", "--truth", f"{folder}/truth", "--rate", str(settings.rate),
             "--image-topic", "/camera/image", "--depth-topic", "/camera/depth"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert console.stdout is not None
            found = re.search(r"http\S+", console.stdout.readline())
            assert found is not None
            print(f"load average {os.getloadavg()[0]:.1f}, camera {CAMERA_HZ} Hz, --rate {settings.rate:g}")
            for browsers in settings.browsers:
                rates_hz, share = measure(found[0], console.pid, browsers, settings.limit_s)
                each = ", ".join(f"{rate:.1f}" for rate in rates_hz) or "none"
                print(f"{browsers} browsers: images per second {each}; console {share:.2f} of a core", flush=True)
        finally:
            for process in (console, player):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()

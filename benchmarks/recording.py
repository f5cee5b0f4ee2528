"""The cost of recording: answers with and without it, alternately. `python -m benchmarks.recording`.

Models are scripted, so everything except recording takes little time. Images are those of the shipped video, enlarged
to 1280 x 720.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path

import cv2

from reasonseg_ros.bags import BagReader
from reasonseg_ros.config import config_from
from reasonseg_ros.files.resources import resource
from reasonseg_ros.images.messages import rgb_from_compressed, rgb_from_image
from reasonseg_ros.live.questions import Question
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.live.worker import Worker
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.recording.recorder import Recorder, RecordHealth
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Frame, Query

SIZE_WH = (1280, 720)
TEXT = '<think>There.</think><answer>[{"bbox_2d": [200, 200, 600, 500], "point_2d": [400, 350]}]</answer>'


def pictures() -> list[Frame]:
    """Images of the shipped video."""
    with BagReader(resource("demo/tabletop_video")) as reader:
        names = {name: kind for name, kind in reader.topics.items() if "Image" in kind and "depth" not in name}
        topic, kind = next(iter(names.items()))
        read = rgb_from_compressed if "Compressed" in kind else rgb_from_image
        images = [read(message) for _, _, message in reader.messages([topic])]
    return [Frame(cv2.resize(rgb, SIZE_WH, interpolation=cv2.INTER_CUBIC)) for rgb in images[:20]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=100, help="of each kind")
    count = parser.parse_args().answers
    settings = Settings(config_from({"record.around_s": 0.0}))
    method = SegZero(ScriptedReasoner([TEXT]), ScriptedSegmenter(), settings)
    worker, health = Worker(method), RecordHealth()
    frames = cycle(pictures())
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(settings, Path(folder), "/benchmark", worker.buffer, health)
        worker.start()
        recorder.start()
        answer_ms: dict[str, list[float]] = {"never": [], "all": []}
        take_ms: list[float] = []
        for number in range(2 * count):
            kind = ("never", "all")[number % 2]
            settings.change(replace(settings.now, record=replace(settings.now.record, answers=kind)))
            frame = replace(next(frames), stamp_ns=(number + 1) * 100_000_000)
            worker.show(Arrival(frame.stamp_ns, frame.rgb.nbytes, partial(replace, frame)))
            came = threading.Event()

            def take(outcome, kind=kind, came=came):  # type: ignore[no-untyped-def]
                answer_ms[kind].append(1000 * outcome.total_s)
                start_s = time.perf_counter()
                recorder.take(outcome)
                if kind == "all":
                    take_ms.append(1000 * (time.perf_counter() - start_s))
                came.set()

            worker.submit(Question(Query("where?", f"q{number}"), take))
            came.wait()
            time.sleep(0.2)  # the next answer arrives while this one is written
        worker.stop()
        recorder.close(600)
        sizes = [path.stat().st_size / 1e6 for path in Path(folder).iterdir()]
    for kind, values in answer_ms.items():
        print(f"record.answers {kind}: median {statistics.median(values):.2f} ms from question to answer")
    print(f"handing an answer to the recorder: median {statistics.median(take_ms):.3f} ms, most {max(take_ms):.3f} ms")
    print(f"{health.written} recorded, {sum(health.lost.values())} lost, {statistics.mean(sizes):.2f} MB each")


if __name__ == "__main__":
    main()

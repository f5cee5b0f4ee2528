"""Makes conformance.mcap after a change of the embedded models: `python test/recording/make_conformance.py`.

It has three questions about downscaled pictures of the shipped bag, one about an out-of-vocabulary object, and one that
no picture answers.
"""

from pathlib import Path

import cv2

from reasonseg_ros.bags.mcap_bytes import mcap_bytes
from reasonseg_ros.config import Config
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.files.resources import resource
from reasonseg_ros.methods.loading import load_method
from reasonseg_ros.recording.conditions import conditions_of, settings_of
from reasonseg_ros.recording.content import QUESTION, BlackBox
from reasonseg_ros.recording.writing import black_box_messages
from reasonseg_ros.types import Frame, Query

CONFORMANCE = Path(__file__).with_name("conformance.mcap")
SAMPLES = ("30000302-0", "30000305-0", "30000306-0")
"""One target, several, and none."""
SIZE_WH = (320, 240)


def questions():
    """Frames with their questions."""
    for clip in read_clips(resource("demo/tabletop")):
        (sample,) = clip.samples
        if sample.sample_id in SAMPLES:
            seen = sample.load_frame()
            rgb = cv2.resize(seen.rgb, SIZE_WH, interpolation=cv2.INTER_AREA)
            frame = Frame(rgb, seen.stamp_ns, seen.frame_id)
            yield frame, Query(clip.question, sample.sample_id)
    yield frame, Query("a submarine", "unknown")
    yield frame, Query("the most expensive thing", "unsure")


def main():
    config = Config()
    method, conditions = load_method(config), conditions_of(config)
    messages = {}  # the questions about a picture share its message
    for frame, query in questions():
        found = method.answer(frame, query)
        status, error = str(found.status), found.answer.error
        more = {"settings": settings_of(config), "conditions": conditions}
        box = BlackBox(query, QUESTION, (frame,), found, status, error, **more)
        messages |= dict.fromkeys(black_box_messages(box))
        print(query.query_id, query.text, status, found.answer.confidence)
    CONFORMANCE.write_bytes(mcap_bytes(messages))
    print(CONFORMANCE, CONFORMANCE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()

"""Small data sets are drawn by hand; what comes out of a bag is compared with independently drawn masks."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from reasonseg_ros import cli
from reasonseg_ros.bags import BagReader, header_stamp_ns
from reasonseg_ros.images.mask_codec import decode_mask


@pytest.fixture
def photo():
    """Writes a photograph of noise and returns its bytes."""

    def write(path, size_wh=(40, 30), **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(size_wh[0]).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return path.read_bytes()

    return write


@pytest.fixture
def rectangle():
    """bool [H, W], True in the box x1, y1, x2, y2, the ends included."""

    def draw(x1, y1, x2, y2, size_wh=(40, 30)):
        mask = np.zeros(size_wh[::-1], bool)
        mask[y1 : y2 + 1, x1 : x2 + 1] = True
        return mask

    return draw


@pytest.fixture
def write_json():
    def write(path, content, encoding="utf-8"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))

    return write


@dataclass
class Converted:
    """A converted bag: exit status, printed lines, and what the bag holds."""

    status: int
    out: str
    problems: list = field(default_factory=list)
    images: dict = field(default_factory=dict)
    queries: dict = field(default_factory=dict)
    truths: list = field(default_factory=list)

    def truth(self, question_id):
        (found,) = [truth for truth in self.truths if truth.query_id == question_id]
        return found

    def mask(self, question_id):
        return decode_mask(self.truth(question_id).mask)


@pytest.fixture
def convert(tmp_path, capsys):
    """Runs `reasonseg bag VERB` and reads the bag."""

    def run(verb, folder, *options):
        bag = tmp_path / "out" / "bag"
        status = cli.main(["bag", verb, str(folder), "--out", str(bag), *options])
        printed = capsys.readouterr()
        problems = [line.removeprefix("left out: ") for line in printed.err.splitlines() if line.startswith("left out")]
        result = Converted(status, printed.out, problems)
        if bag.exists():
            with BagReader(bag) as reader:
                for topic, _, message in reader.messages():
                    if topic == "/camera/image/compressed":
                        result.images[header_stamp_ns(message.header)] = message
                    elif topic == "/reasonseg/query":
                        result.queries[message.query_id] = message.text
                    else:
                        result.truths.append(message)
        return result

    return run


FRAMES = ["00000", "00005", "00010"]
"""Names of a video's frames."""


@pytest.fixture
def frames(photo):
    def write(base, video, names=FRAMES):
        for name in names:
            photo(base / "JPEGImages" / video / f"{name}.jpg")

    return write

"""Comments of JPEG files, judged by Pillow and OpenCV."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.jpeg_comment import LONGEST_BYTES, comment_of, with_comment

PIXELS = np.random.default_rng(5).integers(0, 255, (24, 32, 3), np.uint8)
JPEG = cv2.imencode(".jpg", PIXELS)[1].tobytes()


@pytest.mark.parametrize("text", ["q1", "", "follow 3f", "물건 ☕", "x" * LONGEST_BYTES], ids=len)
def test_a_comment_is_read_by_others_and_changes_no_pixel(text):
    data = with_comment(JPEG, text)
    assert comment_of(data) == text
    with Image.open(io.BytesIO(data)) as image:
        assert image.info.get("comment", b"") == text.encode()
    read, before = (cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in (data, JPEG))
    assert (read == before).all()


def test_a_comment_that_another_program_wrote_is_read_behind_its_segments():
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG", comment=b"q7", dpi=(72, 72), icc_profile=b"p" * 1000)
    assert comment_of(buffer.getvalue()) == "q7"


@pytest.mark.parametrize(
    "data", [JPEG, JPEG[:3], b"", b"\xff\xd8\xff\xfe\x00\x01", b"\x89PNG", JPEG.replace(b"\xff", b"\0")]
)
def test_without_a_comment_there_is_none(data):
    assert comment_of(data) is None


def test_what_cannot_hold_a_comment_is_refused():
    for data, text in ((b"\x89PNG", "q1"), (JPEG, "x" * (LONGEST_BYTES + 1))):
        with pytest.raises(InvalidInput):
            with_comment(data, text)

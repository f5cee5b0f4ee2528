import copy
import json

import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.recording.content import from_text, rgb_sha256, to_text
from reasonseg_ros.recording.reading import read_black_boxes
from reasonseg_ros.types import Frame
from test.recording.boxes import black_box, noisy_frame, prompted_box, write_box


def read_back(box):
    return from_text(to_text(box), {rgb_sha256(frame.rgb): frame.rgb for frame in box.frames})


def test_every_value_comes_back_exactly():
    for box in (black_box(note="wrong mug", is_flagged=True), prompted_box(), black_box(text="nonsense")):
        again = read_back(box)
        assert to_text(again) == to_text(box)
        assert again.query == box.query and (again.note, again.is_flagged) == (box.note, box.is_flagged)
        for old, new in zip(box.segmentation.regions, again.segmentation.regions, strict=True):
            np.testing.assert_array_equal(old.mask, new.mask)
            np.testing.assert_array_equal(old.grounding.box_xyxy, new.grounding.box_xyxy)


def test_a_float32_box_keeps_its_last_bit():
    box = prompted_box()
    exact = np.nextafter(np.float32(4), np.float32(5))
    box.prompts[0].box_xyxy[0] = exact
    assert read_back(box).prompts[0].box_xyxy[0] == exact


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["version"], 99, "version 99"),
        (["query"], None, "damaged"),
        (["query", "mode"], "shout", "damaged"),
        (["asked"], "guess", "asked = 'guess'"),
        (["asked"], "", "do not fit together"),
        (["images", 0, "rgb_sha256"], "0" * 64, "not in the file with the recorded pixels"),
        (["answer", "image"], 7, "damaged"),
        (["answer", "status"], "fine", "damaged"),
        (["answer", "tokens"], "many", "damaged"),
        (["answer", "groundings", 0, "box_xyxy"], [1, 2, 3], "box"),
        (["answer", "regions", 0, "mask", "counts"], [5], "runs add up"),
        (["answer", "regions", 0, "mask"], {"size": [2, 2], "counts": [4]}, "a mask of"),
        (["published", "status"], "great", "damaged"),
        (["settings"], [], "no object"),
    ],
)
def test_a_damaged_description_is_refused_with_the_reason(path, value, reason):
    box = black_box()
    values = json.loads(to_text(box))
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidInput, match=reason):
        from_text(json.dumps(values), {rgb_sha256(box.frames[0].rgb): box.frames[0].rgb})


def test_a_description_without_one_of_its_keys_is_refused():
    box = black_box()
    whole = json.loads(to_text(box))
    images = {rgb_sha256(box.frames[0].rgb): box.frames[0].rgb}
    for key in whole:
        values = copy.deepcopy(whole)
        del values[key]
        with pytest.raises(InvalidInput):
            from_text(json.dumps(values), images)


def test_other_readers_understand_the_file(tmp_path):
    box = black_box(frame=noisy_frame(stamp_ns=2 * 10**18))
    around = [Frame(noisy_frame(number + 1).rgb, 2 * 10**18 + number * 10**8, "camera") for number in (-1, 0, 1)]
    path = write_box(tmp_path / "box.mcap", box, around)
    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    topics = {channel.topic: summary.statistics.channel_message_counts[i] for i, channel in summary.channels.items()}
    assert topics == {"/camera/image/compressed": 3, "/reasonseg/query": 1, "/reasonseg/black_box": 1}
    with AnyReader([path]) as reader:
        seen = [(one.topic, stamp_ns) for one, stamp_ns, _ in reader.messages()]
    assert [stamp for topic, stamp in seen if topic == "/camera/image/compressed"] == [f.stamp_ns for f in around]
    assert ("/reasonseg/query", 2 * 10**18) in seen
    found = list(read_black_boxes(path))
    np.testing.assert_array_equal(found[0].frames[0].rgb, box.frames[0].rgb)


def test_a_file_of_another_kind_is_refused(tmp_path, box_file):
    (tmp_path / "text.mcap").write_text("hello")
    with pytest.raises(InvalidInput, match="no MCAP file"):
        list(read_black_boxes(tmp_path / "text.mcap"))
    with pytest.raises(InvalidInput, match="there is no bag"):
        list(read_black_boxes(tmp_path / "absent.mcap"))


def test_no_cut_and_no_changed_byte_is_answered_again(tmp_path, box_file):
    """A file that was cut or changed anywhere is refused, or gives the very same black box."""
    data, text = box_file.read_bytes(), to_text(next(read_black_boxes(box_file)))
    damaged = tmp_path / "damaged.mcap"
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(data), 60).tolist():
        for content in (data[:place], data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]):
            damaged.write_bytes(content)
            try:
                found = [to_text(box) for box in read_black_boxes(damaged)]
            except InvalidInput:
                refused += 1
            else:
                assert found == [text]
    assert refused > 60

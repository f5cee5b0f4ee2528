"""Ground truth from outside: contradictions, and masks for another camera, are listed."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
from mcap.writer import Writer

from reasonseg_ros import bags
from reasonseg_ros.bags import BagReader, typestore
from reasonseg_ros.bags.definitions import store_of
from reasonseg_ros.bags.records import Topic
from reasonseg_ros.evaluation.bag_messages import read_clips

BOX = (8, 8, 24, 24)


def split(clips):
    """The samples, and what cannot be read. Every clip is one or the other."""
    found = list(clips)
    assert all(len(clip.frames) + len(clip.unreadable) == 1 for clip in found)
    return [sample for clip in found for sample in clip.samples], [lost for clip in found for lost in clip.unreadable]


def test_masks_of_another_size_are_listed(make_bag, samples_of):
    def shrink(messages):
        topic, image, stamp_ns = messages[0]
        small = np.zeros((24, 32, 3), np.uint8)
        return [
            (topic, bags.image_message(small, bags.header_stamp_ns(image.header), "camera"), stamp_ns),
            *messages[1:],
        ]

    samples, lost = split(read_clips(make_bag([samples_of("a")], change=shrink)))
    assert samples == [] and "mask of 64 x 48" in lost[0].reason and "image of 32 x 24" in lost[0].reason


@pytest.mark.parametrize(
    ("box", "changes", "reason"),
    [
        (None, {"boxes": [(8, 8, 24, 24)]}, "1 boxes and 0 points, and an empty mask"),
        (None, {"points": [(9, 9)]}, "0 boxes and 1 points, and an empty mask"),
        (BOX, {"boxes": [(0.1, 0.1, 0.4, 0.5)]}, "holds no pixel of its mask"),  # shares of the image
        (BOX, {"boxes": [BOX, (40, 30, 50, 40)]}, "[40.0, 30.0, 50.0, 40.0] holds no pixel"),
        (BOX, {"points": [(900, 9)]}, "point (900, 9) lies outside the image of 64 x 48"),
        (BOX, {"boxes": [(-3, 8, 24, 99)], "points": [(8, 8)]}, ""),
        (None, {}, ""),
    ],
)
def test_boxes_and_points_belong_to_the_mask(make_bag, samples_of, box, changes, reason):
    def changed(messages):
        truth = messages[-1]
        given = {
            "boxes": [bags.box_message(value) for value in changes.get("boxes", [])],
            "points": [SimpleNamespace(x=float(x), y=float(y)) for x, y in changes.get("points", [])],
        }
        return [*messages[:-1], (truth[0], replace(truth[1], **given), truth[2])]

    samples, lost = split(read_clips(make_bag([samples_of("a", box)], change=changed)))
    assert [unreadable.sample_id for unreadable in lost] == (["a"] if reason else [])
    assert len(samples) == (not reason) and all(reason in unreadable.reason for unreadable in lost)


def test_a_damaged_mask_is_listed(make_bag, samples_of):
    def damage(messages):
        topic, truth, stamp_ns = messages[2]
        mask = replace(truth.mask, data=truth.mask.data[:30])
        return [*messages[:2], (topic, replace(truth, mask=mask), stamp_ns)]

    samples, lost = split(read_clips(make_bag([samples_of("a")], change=damage)))
    assert samples == [] and lost[0].sample_id == "a" and "damaged" in lost[0].reason


def of_frame(frame_id, with_second_camera):
    """Ground truth of another frame; perhaps images of a second camera that has the same stamps and size."""

    def change(messages):
        changed = []
        for topic, message, stamp_ns in messages:
            if topic == "/reasonseg/ground_truth":
                message = replace(message, header=replace(message.header, frame_id=frame_id))
            changed.append((topic, message, stamp_ns))
            if with_second_camera and topic == "/camera/image":
                changed.append(("/right/image", message, stamp_ns))
        return changed

    return change


def test_ground_truth_of_another_camera_is_not_scored_on_this_one(make_bag, samples_of):
    bag = make_bag([samples_of("a")], change=of_frame("right", True))
    samples, (lost,) = split(read_clips(bag, "/camera/image"))
    assert not samples and lost.sample_id == "a" and "ground truth is of frame 'right'" in lost.reason
    assert "choose another --image-topic" in lost.reason
    bag = make_bag([samples_of("a")], change=of_frame("/camera", True), name="same")
    assert [sample.sample_id for sample in split(read_clips(bag, "/camera/image"))[0]] == ["a"]


def test_with_one_camera_another_frame_of_ground_truth_is_noted(make_bag, samples_of):
    notes = []
    bag = make_bag([samples_of("a")], change=of_frame("right", False))
    samples, lost = split(read_clips(bag, on_note=notes.append))
    assert [sample.sample_id for sample in samples] == ["a"] and not lost
    assert len(notes) == 1 and "1 ground truths have another frame_id" in notes[0]


@pytest.mark.parametrize(("lacking", "reason"), [("string kind", "of another version of reasonseg_ros"), ("", "")])
def test_ground_truth_of_another_version_is_listed(make_bag, samples_of, tmp_path, lacking, reason):
    """The message as its own definition has it, which may lack a field."""
    kind = "reasonseg_ros/msg/GroundTruth"
    definition = typestore().generate_msgdef(kind)[0].replace(f"{lacking}\n" if lacking else "\0", "", 1)
    store = store_of(Topic("", kind, definition))
    path = tmp_path / "other.mcap"
    with BagReader(make_bag([samples_of("a")])) as reader, path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        for topic, stamp_ns, message in reader.messages():
            name = reader.topics[topic]
            own = store if name == kind else typestore()
            text = definition if name == kind else own.generate_msgdef(name)[0]
            channel = writer.register_channel(topic, "cdr", writer.register_schema(name, "ros2msg", text.encode()))
            data = bytes(own.serialize_cdr(older(message, own, name), name))
            writer.add_message(channel, stamp_ns, data, stamp_ns)
        writer.finish()
    samples, lost = split(read_clips(path))
    assert len(samples) == (not lacking)
    assert [reason in unreadable.reason for unreadable in lost if "GroundTruth" in unreadable.reason] == (
        [True] if lacking else []
    )


def older(message, store, name):
    """A message of another store's class of this type, with the fields that it has."""
    made = store.types[name]
    return made(**{field.name: getattr(message, field.name) for field in fields(made) if field.name != "__msgtype__"})

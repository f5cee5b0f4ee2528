"""Bags whose message types are of another version: the same names with other fields."""

from dataclasses import fields, is_dataclass

from mcap.writer import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from reasonseg_ros import bags

CAMERA_INFO, IMAGE = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/Image"
GROUND_TRUTH = "reasonseg_ros/msg/GroundTruth"
WITH_SERIAL = {CAMERA_INFO: ("float64[9] k", "uint32 serial\nfloat64[9] k")}
WITH_SEQUENCE = {IMAGE: ("builtin_interfaces/Time stamp", "uint32 seq\nbuiltin_interfaces/Time stamp")}
"""The header of ROS 1 has a number before its stamp."""


def other_store(kind, changes):
    """A typestore with the type by a changed definition, and that definition."""
    text = bags.typestore().generate_msgdef(kind, ros_version=2)[0]
    before, after = changes.get(kind, ("", ""))
    assert before in text
    text = text.replace(before, after, 1) if before else text
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, kind))
    return store, text


def as_in(store, kind, message):
    """The message with the fields of a store's type; those that it lacks are 7, the others are left out."""

    def value(field, name):
        found = getattr(field, name, 7)
        if isinstance(found, list):
            return [as_in(store, one.__msgtype__, one) for one in found]
        return as_in(store, found.__msgtype__, found) if is_dataclass(found) else found

    made = store.types[kind]
    return made(**{one.name: value(message, one.name) for one in fields(made) if one.name != "__msgtype__"})


def write_versions(path, messages, versions):
    """An MCAP file of messages with topic and time. `versions` gives the changed definitions of each message by its
    number among those of its topic; each version has its own channel, as in a file that was merged from several.
    """
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start(profile="ros2", library="test")
        channels, numbers = {}, {}
        for topic, message, stamp_ns in messages:
            kind, number = message.__msgtype__, numbers.get(topic, 0)
            numbers[topic] = number + 1
            store, text = other_store(kind, versions(number))
            if (topic, text) not in channels:
                schema = writer.register_schema(kind, "ros2msg", text.encode())
                channels[topic, text] = writer.register_channel(topic, "cdr", schema)
            data = bytes(store.serialize_cdr(as_in(store, kind, message), kind))
            writer.add_message(channels[topic, text], stamp_ns, data, stamp_ns)
        writer.finish()
    return path

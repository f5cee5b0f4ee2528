import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from reasonseg_ros import bags
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.ros.playing.message_fields import differing_field
from reasonseg_ros.ros.playing.publishers import message_class


def test_installed_messages_are_those_of_their_distribution():
    store, compared = bags.typestore(), 0
    for kind in store.fielddefs:
        try:
            message_class(kind)
        except InvalidInput:
            continue
        compared += 1
        assert differing_field(store, kind, message_class) == "", kind
    assert compared > 100


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ("string<=20 query_id\nstring text\nstring mode\nuint32 frames", ""),
        ("string query_id\nstring text\nstring mode", "frames"),
        ("string query_id\nstring text\nstring mode\nuint16 frames", "frames"),
        ("string text\nstring query_id\nstring mode\nuint32 frames", "text"),
        ("string query_id\nstring text\nstring mode\nuint32 frames\nfloat64 more", "more"),
        ("string[] query_id\nstring text\nstring mode\nuint32 frames", "query_id"),
    ],
)
def test_a_definition_of_another_version_is_found_by_its_field(definition, field):
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition, "reasonseg_ros/msg/Query"))
    assert differing_field(store, "reasonseg_ros/msg/Query", message_class) == field


def test_a_field_within_another_message_is_named_with_its_place():
    text = "std_msgs/Header header\n" + "=" * 80 + "\nMSG: std_msgs/Header\nuint32 seq\nstring frame_id\n"
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, "sensor_msgs/msg/Image"))
    assert differing_field(store, "sensor_msgs/msg/Image", message_class) == "header.seq"

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from reasonseg_ros.evaluation.bag_messages import _decoded
from reasonseg_ros.evaluation.damaged_bag import Record

OLDER = "string query_id\nstring text"


def query_record(definition, message_type="reasonseg_ros/msg/Query"):
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(OLDER, "reasonseg_ros/msg/Query"))
    message = store.types["reasonseg_ros/msg/Query"](query_id="a", text="which one?")
    data = bytes(store.serialize_cdr(message, message.__msgtype__))
    return Record("/query", message_type, 0, data, definition)


def test_messages_of_another_version_are_read_by_the_bags_own_definition():
    message = _decoded(query_record(OLDER))
    assert (message.query_id, message.text) == ("a", "which one?")


@pytest.mark.parametrize("definition", ["", " \n", "Foo bar", "=====", "\0"])
def test_without_a_definition_that_can_be_used_it_is_this_versions(definition):
    assert "reasonseg_ros/msg/Query" in str(_decoded(query_record(definition))), "an error that names the type"
    assert isinstance(_decoded(query_record(definition)), Exception)

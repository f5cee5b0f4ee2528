"""New stamps for recorded messages: which clock a header has, and where headers are."""

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from reasonseg_ros import bags
from reasonseg_ros.bags.records import Record, Topic
from reasonseg_ros.bags.restamping import Restamping
from reasonseg_ros.errors import InvalidInput

SECOND = 10**9
LOG_NS, NOW_NS = 1_700_000_000 * SECOND, 1_800_000_000 * SECOND
types = bags.typestore().types


def restamping(rate=1.0):
    return Restamping(LOG_NS, NOW_NS, rate)


def record(message, log_ns, topic="/topic"):
    kind = message.__msgtype__
    return Record(Topic(topic, kind), log_ns, bytes(bags.typestore().serialize_cdr(message, kind)))


def image(stamp_ns, log_ns):
    return record(bags.image_message(np.zeros((2, 2, 3), np.uint8), stamp_ns, "camera"), log_ns)


def since_now_s(stamp_ns):
    return round((stamp_ns - NOW_NS) / SECOND, 6)


def transform(stamp_ns):
    vector = types["geometry_msgs/msg/Vector3"](x=1.0, y=2.0, z=3.0)
    rotation = types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0)
    motion = types["geometry_msgs/msg/Transform"](translation=vector, rotation=rotation)
    return types["geometry_msgs/msg/TransformStamped"](
        header=bags.header(stamp_ns, "map"), child_frame_id="base", transform=motion
    )


def decoded(data, kind):
    return bags.typestore().deserialize_cdr(data, kind)


@pytest.mark.parametrize("offset_s", [0, -0.2, 5])
def test_stamps_of_the_recorders_clock_keep_their_distance_to_the_time_of_recording(offset_s):
    again = restamping()
    for second in (0, 1, 2):
        log_ns = LOG_NS + second * SECOND
        new = bags.raw_stamp_ns(again.data(image(log_ns + round(offset_s * SECOND), log_ns)))
        assert since_now_s(new) == second + offset_s


@pytest.mark.parametrize("booted_ns", [12 * SECOND, 1, 1_600_000_000 * SECOND, 2_000_000_000 * SECOND])
def test_stamps_of_a_devices_clock_begin_now_and_keep_their_distances(booted_ns):
    again = restamping()
    found = []
    for tenth in range(5):
        late_ns = (tenth % 3) * 7_000_000  # the way to the recorder takes more or less long
        stamp_ns = booted_ns + tenth * SECOND // 10
        found.append(
            since_now_s(bags.raw_stamp_ns(again.data(image(stamp_ns, LOG_NS + tenth * SECOND // 10 + late_ns))))
        )
    assert found == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_topics_of_one_device_keep_equal_stamps_and_other_clocks_their_own():
    again = restamping(rate=2.0)
    first = bags.raw_stamp_ns(again.data(image(12 * SECOND, LOG_NS)))
    second = bags.raw_stamp_ns(again.data(image(12 * SECOND, LOG_NS + 30_000_000)))
    host = bags.raw_stamp_ns(again.data(image(LOG_NS + SECOND, LOG_NS + SECOND)))
    assert first == second == NOW_NS
    assert since_now_s(host) == 0.5


def test_a_header_without_a_stamp_gets_that_of_its_recording():
    assert since_now_s(bags.raw_stamp_ns(restamping().data(image(0, LOG_NS + 3 * SECOND)))) == 3


def test_every_transform_of_a_message_is_stamped_and_nothing_else_changes():
    stamps_ns = [LOG_NS, LOG_NS + SECOND // 2, LOG_NS - SECOND]
    message = types["tf2_msgs/msg/TFMessage"](transforms=[transform(stamp_ns) for stamp_ns in stamps_ns])
    after = decoded(restamping().data(record(message, LOG_NS)), "tf2_msgs/msg/TFMessage")
    assert [since_now_s(bags.header_stamp_ns(t.header)) for t in after.transforms] == [0, 0.5, -1]
    for old, new in zip(message.transforms, after.transforms, strict=True):
        assert (new.header.frame_id, new.child_frame_id, new.transform) == ("map", "base", old.transform)


def test_headers_within_other_messages_are_stamped():
    point = types["geometry_msgs/msg/Point"](x=1.0, y=0.0, z=0.0)
    rotation = types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0)
    pose = types["geometry_msgs/msg/Pose"](position=point, orientation=rotation)
    poses = [
        types["geometry_msgs/msg/PoseStamped"](header=bags.header(LOG_NS + number * SECOND, "map"), pose=pose)
        for number in range(3)
    ]
    path = types["nav_msgs/msg/Path"](header=bags.header(LOG_NS, "map"), poses=poses)
    after = decoded(restamping().data(record(path, LOG_NS)), "nav_msgs/msg/Path")
    assert since_now_s(bags.header_stamp_ns(after.header)) == 0
    assert [since_now_s(bags.header_stamp_ns(p.header)) for p in after.poses] == [0, 1, 2]


def test_a_type_that_the_bag_defines_is_stamped_by_that_definition():
    kind, text = "my_msgs/msg/Late", "float64 value\nstd_msgs/Header header\n"
    text += "=" * 80 + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
    text += "=" * 80 + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, kind))
    time = store.types["builtin_interfaces/msg/Time"](sec=1_700_000_000, nanosec=0)
    head = store.types["std_msgs/msg/Header"](stamp=time, frame_id="map")
    data = bytes(store.serialize_cdr(store.types[kind](value=2.5, header=head), kind))
    after = store.deserialize_cdr(restamping().data(Record(Topic("/late", kind, text), LOG_NS, data)), kind)
    assert (after.value, after.header.stamp.sec) == (2.5, 1_800_000_000)


def test_messages_without_headers_stay_as_they_are():
    message = types["std_msgs/msg/String"](data="hello")
    assert restamping().data(record(message, LOG_NS)) == record(message, LOG_NS).data


def test_what_cannot_be_stamped_is_refused():
    with pytest.raises(InvalidInput, match="my_msgs/msg/Unknown"):
        restamping().data(Record(Topic("/x", "my_msgs/msg/Unknown"), LOG_NS, bytes(30)))
    with pytest.raises(InvalidInput, match="12 at least"):
        restamping().data(Record(Topic("/x", "sensor_msgs/msg/Image"), LOG_NS, bytes(6)))
    with pytest.raises(InvalidInput, match="TFMessage"):
        restamping().data(Record(Topic("/tf", "tf2_msgs/msg/TFMessage"), LOG_NS, b"\0\1\0\0\xff\xff\xff\x7f"))


@pytest.mark.parametrize("stamp_ns", [2**31 * SECOND - 1, -(2**31) * SECOND])
@pytest.mark.parametrize("log_ns", [0, LOG_NS, 2**64 - 1])
def test_extreme_times_give_a_stamp_that_a_message_can_hold(stamp_ns, log_ns):
    data = restamping(rate=1e-3).data(image(stamp_ns, log_ns))
    assert bags.raw_stamp_ns(data) >= 0


@pytest.mark.parametrize("begin_ns", [12 * SECOND, LOG_NS])
def test_simulated_time_goes_on_with_the_stamps_of_its_images(begin_ns):
    again, found = restamping(), []
    for second in range(3):
        now_ns, log_ns = begin_ns + second * SECOND, LOG_NS + second * SECOND
        time = types["builtin_interfaces/msg/Time"](sec=now_ns // SECOND, nanosec=now_ns % SECOND)
        clock = record(types["rosgraph_msgs/msg/Clock"](clock=time), log_ns, "/clock")
        new = decoded(again.data(clock), "rosgraph_msgs/msg/Clock").clock
        found.append(since_now_s(new.sec * SECOND + new.nanosec))
        assert since_now_s(bags.raw_stamp_ns(again.data(image(now_ns, log_ns)))) == second
    assert found == [0, 1, 2]


@pytest.mark.parametrize("speed", [0.2, 0.5, 1.0, 2.0])
def test_topics_of_slow_or_fast_simulated_time_stay_together(speed):
    """An image takes longer to the recorder than its transform; in 100 s each leaves the first 10 s of its clock."""
    again = restamping()
    for tenth in range(1000):
        log_ns, stamp_ns = LOG_NS + tenth * SECOND // 10, 12 * SECOND + round(tenth * SECOND / 10 * speed)
        message = types["tf2_msgs/msg/TFMessage"](transforms=[transform(stamp_ns)])
        moved = decoded(again.data(record(message, log_ns)), "tf2_msgs/msg/TFMessage").transforms[0].header
        late_ns = (tenth % 5) * 40_000_000
        seen_ns = bags.raw_stamp_ns(again.data(image(stamp_ns, log_ns + late_ns)))
        assert seen_ns == bags.header_stamp_ns(moved)
        assert since_now_s(seen_ns) == pytest.approx(tenth / 10 * speed)


def test_an_offset_about_ten_seconds_from_the_recorders_clock_does_not_switch_to_and_fro():
    again, offsets_s = restamping(), []
    for tenth in range(20):
        log_ns = LOG_NS + tenth * SECOND // 10
        ahead_ns = -10 * SECOND + (20_000_000 if tenth % 2 else -20_000_000)
        offsets_s.append(since_now_s(bags.raw_stamp_ns(again.data(image(log_ns + ahead_ns, log_ns)))) - tenth / 10)
    assert max(offsets_s) - min(offsets_s) == pytest.approx(0.04)


@pytest.mark.parametrize("begin_ns", [LOG_NS, 12 * SECOND])
def test_old_poses_of_a_path_keep_their_distance_to_its_header(begin_ns):
    point = types["geometry_msgs/msg/Point"](x=1.0, y=0.0, z=0.0)
    rotation = types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0)
    pose = types["geometry_msgs/msg/Pose"](position=point, orientation=rotation)
    poses = [
        types["geometry_msgs/msg/PoseStamped"](header=bags.header(begin_ns + 10 * number * SECOND, "map"), pose=pose)
        for number in range(4)
    ]
    path = types["nav_msgs/msg/Path"](header=bags.header(begin_ns + 30 * SECOND, "map"), poses=poses)
    again, log_ns = restamping(), LOG_NS + 30 * SECOND
    for _ in range(2):
        after = decoded(again.data(record(path, log_ns)), "nav_msgs/msg/Path")
        assert since_now_s(bags.header_stamp_ns(after.header)) == 30
        assert [since_now_s(bags.header_stamp_ns(one.header)) for one in after.poses] == [0, 10, 20, 30]

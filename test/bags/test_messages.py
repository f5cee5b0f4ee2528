import numpy as np
import pytest

from reasonseg_ros import bags
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.space.calibration import intrinsics_from_info
from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.types import Mode, Query

STAMP_NS = 1_700_000_000_123_456_789


def write(path, *messages, force=False):
    with bags.BagWriter(path, force) as bag:
        for number, (topic, message) in enumerate(messages):
            bag.write(topic, message, STAMP_NS + number)


def read(path):
    with bags.BagReader(path) as bag:
        return list(bag.messages())


@pytest.mark.parametrize(
    "lens",
    [
        Intrinsics(500.0, 501.0, 3.5, 2.5),
        Intrinsics(500.0, 501.0, 3.5, 2.5, (-0.3, 0.1, 0.001, 0.002, 0.01)),
        Intrinsics(500.0, 501.0, 3.5, 2.5, (0.5, -2.6, 0.001, 0.002, 1.5, 0.4, -2.4, 1.4)),
        Intrinsics(500.0, 501.0, 3.5, 2.5, (0.1, 0.0, 0.0, 0.0), True),
    ],
)
def test_every_lens_comes_back_through_a_bag(tmp_path, lens):
    write(tmp_path / "bag", ("/camera/camera_info", bags.camera_info_message(lens, (8, 6), STAMP_NS, "optical")))
    ((_, _, message),) = read(tmp_path / "bag")
    assert intrinsics_from_info(message, (8, 6)) == lens


def test_the_lens_of_a_rectified_image_is_not_written_as_that_of_a_raw_one():
    turned = Intrinsics(500.0, 501.0, 3.5, 2.5, camera_from_lens=tuple(np.diag([1.0, -1.0, -1.0]).ravel()))
    with pytest.raises(InvalidInput, match="rectified"):
        bags.camera_info_message(turned, (8, 6), STAMP_NS, "optical")


def test_images_depth_and_camera_come_back_as_they_were(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    depth_m = np.linspace(0.3, 2.0, 48, dtype=np.float32).reshape(6, 8)
    camera = bags.camera_info_message(Intrinsics(500.0, 501.0, 3.5, 2.5), (8, 6), STAMP_NS, "optical")
    write(
        tmp_path / "bag",
        ("/camera/image", bags.image_message(rgb, STAMP_NS, "optical")),
        ("/camera/depth", bags.depth_message(depth_m, STAMP_NS, "optical")),
        ("/camera/camera_info", camera),
    )
    (_, stamp_ns, image), (_, _, depth), (_, _, info) = read(tmp_path / "bag")
    assert stamp_ns == STAMP_NS == bags.header_stamp_ns(image.header)
    assert image.header.frame_id == "optical"
    assert (image.encoding, image.step) == ("rgb8", 24)
    assert np.array_equal(image.data.reshape(6, 8, 3), rgb)
    assert np.array_equal(depth.data.view(np.float32).reshape(6, 8), depth_m)
    assert info.k.tolist() == [500.0, 0.0, 3.5, 0.0, 501.0, 2.5, 0.0, 0.0, 1.0]
    assert (info.width, info.height) == (8, 6)


@pytest.mark.parametrize("empty", [False, True])
def test_a_question_and_its_ground_truth_come_back_as_they_were(tmp_path, empty):
    mask = np.zeros((6, 8), bool)
    if not empty:
        mask[1:4, 2:7] = True
    query = Query("what is the tallest?", "7-0", Mode.WATCH)
    truth = bags.ground_truth_message(
        query, mask, STAMP_NS, "optical", kind="comparison", thought="It stands out.", split="test",
        boxes_xyxy=[] if empty else [(2, 1, 7, 4)], points_xy=[] if empty else [(4, 2)],
    )  # fmt: skip
    write(tmp_path / "bag", ("/query", bags.query_message(query)), ("/truth", truth))
    (_, _, asked), (_, _, known) = read(tmp_path / "bag")
    assert (asked.query_id, asked.text, asked.mode) == ("7-0", "what is the tallest?", "watch")
    assert (known.query_id, known.kind, known.thought, known.split) == ("7-0", "comparison", "It stands out.", "test")
    assert np.array_equal(decode_mask(known.mask), mask)
    assert [(box.x1, box.y1, box.x2, box.y2) for box in known.boxes] == ([] if empty else [(2, 1, 7, 4)])
    assert len(known.points) == len(known.boxes)


def test_raw_bytes_and_single_files_are_read_too(tmp_path):
    write(tmp_path / "bag", ("/query", bags.query_message(Query("a mug"))))
    with bags.BagReader(tmp_path / "bag" / "bag.mcap") as bag:
        ((topic, _, data),) = bag.raw()
        assert bag.topics == {"/query": "reasonseg_ros/msg/Query"}
    with bags.BagWriter(tmp_path / "copy") as copy:
        copy.write_raw(topic, "reasonseg_ros/msg/Query", data, 5)
    ((_, stamp_ns, message),) = read(tmp_path / "copy")
    assert (stamp_ns, message.text) == (5, "a mug")


def test_an_existing_bag_is_kept_unless_forced(tmp_path):
    path = tmp_path / "bag"
    write(path, ("/query", bags.query_message(Query("first"))))
    with pytest.raises(InvalidInput, match="--force"):
        bags.BagWriter(path)
    assert read(path)[0][2].text == "first"
    write(path, ("/query", bags.query_message(Query("second"))), force=True)
    assert read(path)[0][2].text == "second"


def test_a_folder_that_is_no_bag_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInput, match="not a bag"):
        bags.BagWriter(tmp_path, force=True)


def test_an_interrupted_bag_leaves_nothing_behind(tmp_path):
    def write_and_stop():
        with bags.BagWriter(tmp_path / "bag") as bag:
            bag.write("/query", bags.query_message(Query("a mug")), 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_bag_is_read_as_empty(tmp_path):
    write(tmp_path / "bag")
    assert read(tmp_path / "bag") == []


def test_what_cannot_be_read_says_why(tmp_path):
    with pytest.raises(InvalidInput, match="no bag at"):
        bags.BagReader(tmp_path / "nowhere")
    (tmp_path / "damaged.mcap").write_bytes(b"\x89MCAP0\r\n" + bytes(100))
    with pytest.raises(InvalidInput, match="is not a bag"), bags.BagReader(tmp_path / "damaged.mcap"):
        pass
    write(tmp_path / "bag", ("/query", bags.query_message(Query("a mug"))))
    with bags.BagReader(tmp_path / "bag") as bag, pytest.raises(InvalidInput, match="it has /query"):
        list(bag.messages(["/camera/image"]))

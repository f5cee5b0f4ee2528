import numpy as np
import pytest

from reasonseg_ros.bags import BagReader, header_stamp_ns
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.tabletop.bag import BagPlan, write_bag
from reasonseg_ros.tabletop.world import World

SIZE_WH = (160, 120)


@pytest.fixture(scope="module")
def world():
    return World(SIZE_WH)


def write(world, path, **plan):
    assert list(write_bag(BagPlan(**plan), world, path)) == list(range(1, plan["scenes"] + 1))


def read(path, topic):
    with BagReader(path) as bag:
        return [message for _, _, message in bag.messages([topic])]


def test_every_question_has_its_image_and_its_truth(world, tmp_path):
    write(world, tmp_path / "bag", seed=30_000_000, scenes=3, questions=2)
    images = {header_stamp_ns(m.header): m for m in read(tmp_path / "bag", "/camera/image")}
    truths = read(tmp_path / "bag", "/reasonseg/ground_truth")
    queries = read(tmp_path / "bag", "/reasonseg/query")
    assert len(images) == len(read(tmp_path / "bag", "/camera/depth")) == 3
    assert [query.query_id for query in queries] == [truth.query_id for truth in truths]
    assert len({query.query_id for query in queries}) == len(queries) == 6
    for query, truth in zip(queries, truths, strict=True):
        assert header_stamp_ns(truth.header) in images
        assert (truth.question, truth.split) == (query.text, "demo")
        mask = decode_mask(truth.mask)
        assert mask.shape == SIZE_WH[::-1]
        assert mask.any() == bool(truth.boxes) == (truth.kind != "none")
        assert len(truth.boxes_3d) == len(truth.boxes)
        for box, point in zip(truth.boxes, truth.points, strict=True):
            assert mask[int(point.y), int(point.x)]
            assert box.x1 <= point.x < box.x2
            assert box.y1 <= point.y < box.y2


def test_the_same_seed_gives_the_same_messages(world, tmp_path):
    bags = []
    for name, maker in (("one", world), ("two", World(SIZE_WH))):
        write(maker, tmp_path / name, seed=7, scenes=2)
        with BagReader(tmp_path / name) as bag:
            bags.append(list(bag.raw()))
    assert bags[0] == bags[1]


def test_kinds_are_asked_in_turn_and_depth_can_be_left_out(world, tmp_path):
    write(world, tmp_path / "bag", seed=30_000_100, scenes=4, questions=1, kinds=("function", "none"), depth=False)
    assert [truth.kind for truth in read(tmp_path / "bag", "/reasonseg/ground_truth")] == ["function", "none"] * 2
    with BagReader(tmp_path / "bag") as bag:
        assert "/camera/depth" not in bag.topics


def test_a_part_is_asked_for_with_its_own_mask(world, tmp_path):
    write(world, tmp_path / "bag", seed=30_000_000, scenes=8, questions=1, kinds=("part",), depth=False)
    truths = read(tmp_path / "bag", "/reasonseg/ground_truth")
    assert truths
    for truth in truths:
        seed = int(truth.query_id.split("-")[0])
        mask, scene = decode_mask(truth.mask), world.scene(seed)
        (owner,) = np.unique(scene.instance_ids[mask])
        assert owner > 0
        assert mask.sum() < scene.mask((int(owner),)).sum()


@pytest.mark.parametrize(("plan", "reason"), [
    ({"seed": 1_000_000_000, "scenes": 1}, "reserved"),
    ({"seed": 999_999_999, "scenes": 2}, "reserved"),
    ({"seed": -1, "scenes": 1}, "expected 0 to"),
    ({"seed": 0, "scenes": 0}, "1 scene at least"),
    ({"seed": 0, "scenes": 1, "kinds": ("taste",)}, "taste"),
])  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(plan, reason):
    with pytest.raises(InvalidInput, match=reason):
        BagPlan(**plan)

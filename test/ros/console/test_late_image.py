"""An answer whose image reaches the console after it."""

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy")
pytest.importorskip("reasonseg_ros.msg", reason="run `make setup`")
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from reasonseg_ros import msg
from reasonseg_ros.console.desk import MOST_PINNED, Desk
from reasonseg_ros.console.image_cache import ImageCache, RawMessage
from reasonseg_ros.console.options import ConsoleOptions


def image_at(second):
    message = Image(height=8, width=12, encoding="rgb8", step=36, data=bytes(8 * 36))
    message.header.stamp.sec = second
    return RawMessage("sensor_msgs/msg/Image", second * 1_000_000_000, serialize_message(message))


def answer_at(second, query_id="a"):
    message = msg.Segmentation(query_id=query_id, question="what?", status="no_target", height=8, width=12)
    message.header.stamp.sec = second
    return message


@pytest.fixture
def desk():
    desk = Desk(ConsoleOptions(), ImageCache(1e6), truths=None)
    desk.robot = SimpleNamespace(feed=SimpleNamespace(with_info=lambda shot: shot))
    return desk


async def settled(desk):
    while desk._tasks:
        await asyncio.gather(*desk._tasks)
        await asyncio.sleep(0)


def test_it_is_given_to_the_answer_when_it_comes(desk):
    async def run():
        desk.on_segmentation(answer_at(5))
        await settled(desk)
        (entry,) = desk.history.entries.values()
        assert entry.shot is None and entry.answer is not None
        for second in (4, 5):
            assert entry.shot is None
            desk.cache.add_image(image_at(second))
            desk.on_image()
            await settled(desk)
        assert entry.shot.image.stamp_ns == 5_000_000_000 and entry.size_wh == (12, 8) and entry.thumbnail
        assert desk._late == {}

    asyncio.run(run())


def test_answers_that_wait_for_an_image_are_bounded(desk):
    async def run():
        for number in range(MOST_PINNED + 3):
            desk.on_segmentation(answer_at(100 + number, str(number)))
        await settled(desk)
        assert len(desk._late) == MOST_PINNED
        desk.on_segmentation(answer_at(0, "failed"))  # an answer about no image waits for none
        await settled(desk)
        assert 0 not in desk._late.values()

    asyncio.run(run())

"""A slow browser misses images, never an answer."""

import asyncio

import pytest

from reasonseg_ros.console import viewers
from reasonseg_ros.console.viewers import TooSlow, Viewer, Viewers


async def sent_while(viewer, work):
    """What the viewer sends while `work` runs and until it rests."""
    sent = []

    async def send(data):
        sent.append(data)

    sending = asyncio.create_task(viewer.send_all(send, send))
    await work()
    for _ in range(20):
        await asyncio.sleep(0)
    sending.cancel()
    if sending.done() and not sending.cancelled():
        sending.result()
    return sent


def test_a_browser_that_draws_nothing_gets_one_image_and_every_answer():
    viewer = Viewer()

    async def work():
        for number in range(10):
            viewer.show(b"image %d" % number)
            viewer.tell(f"answer {number}")
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    sent = asyncio.run(sent_while(viewer, work))
    assert [text for text in sent if isinstance(text, str)] == [f"answer {number}" for number in range(10)]
    assert [data for data in sent if isinstance(data, bytes)] == [b"image 0"]


def test_the_next_image_is_the_newest():
    viewer = Viewer()

    async def work():
        for number in range(4):
            viewer.show(b"image %d" % number)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        viewer.is_drawn()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert asyncio.run(sent_while(viewer, work)) == [b"image 0", b"image 3"]


def test_the_newest_tracked_masks_go_before_their_image():
    viewer = Viewer()

    async def work():
        for number in range(3):
            viewer.show_tracked("q1", f"masks {number}")
        viewer.show_tracked("q2", "others")
        viewer.show(b"image")

    assert asyncio.run(sent_while(viewer, work)) == ["masks 2", "others", b"image"]


def test_one_that_is_too_far_behind_is_closed(monkeypatch):
    monkeypatch.setattr(viewers, "MOST_WAITING", 3)
    viewer = Viewer()

    async def work():
        for number in range(5):
            viewer.tell(str(number))

    with pytest.raises(TooSlow):
        asyncio.run(sent_while(viewer, work))


def test_browsers_that_are_gone_get_nothing():
    reported, gone, all_of_them = Viewer(), Viewer(), Viewers()
    all_of_them.add(reported)
    all_of_them.add(gone)
    all_of_them.remove(gone)
    all_of_them.tell("answer")
    assert len(all_of_them) == 1

    async def nothing():
        pass

    assert asyncio.run(sent_while(reported, nothing)) == ["answer"]
    assert asyncio.run(sent_while(gone, nothing)) == []

"""The console's state: stores what the node publishes and sends it to every browser.

Everything runs in the thread of the asyncio loop. Only decoding and encoding run in worker threads.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from reasonseg_ros import msg
from reasonseg_ros.console import wire
from reasonseg_ros.console.history import Exchange, History
from reasonseg_ros.console.image_cache import ImageCache, Shot
from reasonseg_ros.console.options import ConsoleOptions
from reasonseg_ros.console.pictures import THUMBNAIL_PX, frame_of, jpeg_of, live_image
from reasonseg_ros.console.review import ReviewFolder
from reasonseg_ros.console.robot import Robot
from reasonseg_ros.console.truths import TruthBag
from reasonseg_ros.console.viewers import Viewers
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.faults import reason
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.plain_text import plain_text
from reasonseg_ros.stamps import header_stamp_ns
from reasonseg_ros.types import BoolMask, Mode, Status

MOST_ERRORS = 20
MOST_PINNED = 8
"""Images that stay cached while a question about them is open."""
STANDING = (Mode.WATCH, Mode.TRACK)
TRACKED_S = 1.0
"""Maximum age of tracked masks. Up to then the live view shows the image they belong to, so that both fit."""
NO_ERRORS = (Status.OK, Status.NO_TARGET, Status.UNSURE, Status.CANCELLED)
NO_IMAGE = "its image is no longer cached, or was never on the camera's topic"


@dataclass
class NodeState:
    """The node's state. `problem` says why it cannot answer now; empty if it can."""

    problem: str = "looking for the node"
    camera: str = ""
    diagnostics: list[dict[str, Any]] = field(default_factory=list)
    errors: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MOST_ERRORS))


class Desk:
    """The history and the node's state, sent to all browsers. Set `robot` before the first event."""

    robot: Robot

    def __init__(
        self, options: ConsoleOptions, cache: ImageCache, truths: TruthBag, review: ReviewFolder | None = None
    ) -> None:
        self.options = options
        self.cache = cache
        self.truths = truths
        self.review = review
        self.truth_lock = asyncio.Lock()
        self.viewers = Viewers()
        self.history = History(options.kept_answers, options.kept_mb * 1e6, self._on_drop)
        self.node = NodeState()
        self._pinned: dict[str, Shot] = {}
        self._late: dict[int, int] = {}  # by entry: stamps of answered images that have not arrived yet
        self._has_image = asyncio.Event()
        self._tracked_stamp_ns = 0
        self._tracked_s = -TRACKED_S
        self._tasks: set[asyncio.Task[None]] = set()

    def on_image(self) -> None:
        self._has_image.set()
        for number, stamp_ns in list(self._late.items()):
            shot = self.cache.at(stamp_ns)
            if shot is not None:
                del self._late[number]
                if number in self.history.entries:
                    self.later(self._with_pictures(self.history.entries[number], shot))

    def on_thought(self, message: msg.Reasoning) -> None:
        entry = self.history.of_query(message.query_id)
        if entry is not None:
            entry.thought = message.thought
        shot = self.cache.at(header_stamp_ns(message.header))
        if shot is not None and not message.done:
            self._pinned[message.query_id] = shot
            for old in list(self._pinned)[:-MOST_PINNED]:
                del self._pinned[old]
        thought = {"thought": plain_text(message.thought), "tokens": message.tokens, "done": message.done}
        text = wire.text_of("thought", query_id=message.query_id, question=plain_text(message.question), **thought)
        self.viewers.tell(text, replaces=f"thought {message.query_id}")

    def on_segmentation(self, message: msg.Segmentation) -> None:
        if not message.question:  # the answer to a prompt goes to its sender only
            return
        entry = self.history.of_query(message.query_id)
        if entry is None or (not entry.is_open and not _continues(entry, message)):
            entry = self.history.new(message.query_id, message.question, "")
        elif not entry.is_open:
            self._on_more(entry, message)
            return
        self._answered(entry, message)

    def on_ended(self, query_id: str, result: msg.Segmentation | None, error: str) -> None:
        entry = self.history.of_query(query_id)
        if entry is None:
            return
        if entry.is_open and result is not None:
            self._answered(entry, result)
        elif entry.is_open:
            entry.error = error
            self.tell_entry(entry)
        elif result is not None and not _is_same(entry, result):
            self._on_more(entry, result)

    def on_diagnostics(self, statuses: list[Any]) -> None:
        self.node.diagnostics = [wire.diagnostic_values(status) for status in statuses]
        for status in self.node.diagnostics:
            if status["level"] == "error":
                self.note_error(f"{status['name']}: {status['message']}")
        self._tell_node()

    def on_node(self, problem: str, camera: str) -> None:
        if (problem, camera) != (self.node.problem, self.node.camera):
            self.node.problem, self.node.camera = problem, camera
            self._tell_node()

    def note_error(self, text: str) -> None:
        """Add to the list of last errors. A repeated error is listed once, with its newest time."""
        others = [one for one in self.node.errors if one["text"] != text]
        self.node.errors = deque([*others, {"at_s": time.time(), "text": text}], maxlen=MOST_ERRORS)

    def node_values(self) -> dict[str, Any]:
        values = {pair[0]: pair[1] for status in self.node.diagnostics for pair in status["values"]}
        return {
            "name": self.options.node_name,
            "problem": self.node.problem,
            "camera": self.node.camera,
            "is_paused": values.get("enabled") == "False",
            "method": values.get("method", ""),
            "diagnostics": self.node.diagnostics,
            "errors": list(self.node.errors),
        }

    def _tell_node(self) -> None:
        self.viewers.tell(wire.text_of("node", **self.node_values()), replaces="node")

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send_images(self) -> None:
        """Encode and send the newest image periodically while a browser is connected. Runs until cancelled."""
        period_s = 1 / self.options.frame_hz
        while True:
            await self._has_image.wait()
            self._has_image.clear()
            started_s = time.monotonic()
            shot = self._live_shot() if len(self.viewers) else None
            if shot is not None:
                try:
                    picture = await asyncio.to_thread(live_image, shot.image, self.options.picture_px)
                    self.viewers.show(picture.packed())
                except InvalidInput as error:
                    self.note_error(f"live image: {reason(error)}")
            await asyncio.sleep(max(0.0, started_s + period_s - time.monotonic()))

    def _live_shot(self) -> Shot | None:
        is_tracked = time.monotonic() - self._tracked_s < TRACKED_S
        tracked = self.cache.at(self._tracked_stamp_ns) if is_tracked else None
        return tracked or self.cache.newest()

    async def take_image(self, entry: Exchange, shot: Shot) -> None:
        """Store an image in an entry, with depth and calibration. Raises UnusableImage."""
        shot = self.robot.feed.with_info(shot)
        frame, jpeg, thumbnail = await asyncio.to_thread(_pictures, shot, self.options.picture_px)
        entry.shot, entry.frame_id, entry.size_wh = shot, frame.frame_id, frame.size_wh
        entry.jpeg, entry.thumbnail = jpeg, thumbnail
        self.history.trim()

    def tell_entry(self, entry: Exchange) -> None:
        """Send a new or changed entry to every browser."""
        if entry.number in self.history.entries:
            self.viewers.tell(wire.text_of("answer", entry=wire.entry_values(entry)))

    def _answered(self, entry: Exchange, message: msg.Segmentation) -> None:
        entry.answer = message
        entry.thought = message.thought or entry.thought
        if message.error and Status(message.status) not in NO_ERRORS:
            self.note_error(f"{message.status}: {plain_text(message.error)}")
        stamp_ns = header_stamp_ns(message.header)
        pinned = self._pinned.pop(message.query_id, None)
        shot = self.cache.at(stamp_ns)
        if shot is None and pinned is not None and pinned.image.stamp_ns == stamp_ns:
            shot = pinned
        if shot is None and stamp_ns:  # it may still arrive, for example repeated by a paused bag player
            self._late[entry.number] = stamp_ns
            for number in list(self._late)[:-MOST_PINNED]:
                del self._late[number]
        self.later(self._with_pictures(entry, shot))

    async def _with_pictures(self, entry: Exchange, shot: Shot | None) -> None:
        try:
            if shot is not None:
                await self.take_image(entry, shot)
            masks = await asyncio.to_thread(_masks, entry.answer)
            entry.pieces = {index + 1: mask for index, mask in enumerate(masks)}
        except Exception as error:  # the answer is shown even if its image or a mask is damaged
            entry.shot = None
            self.note_error(f"{entry.query_id}: {reason(error)}")
        self.tell_entry(entry)

    def _on_more(self, entry: Exchange, message: msg.Segmentation) -> None:
        """A further message of a standing question: new masks, or its end."""
        if Status(message.status).has_mask:
            self._tracked_stamp_ns, self._tracked_s = header_stamp_ns(message.header), time.monotonic()
            self.viewers.show_tracked(message.query_id, wire.tracked_text(message))
            self._has_image.set()
        else:
            entry.error = f"{message.status}: {message.error}"
            self.viewers.tell(wire.text_of("ended", query_id=message.query_id, status=message.status))
            self.tell_entry(entry)

    def _on_drop(self, number: int) -> None:
        self.viewers.tell(wire.text_of("dropped", number=number))


class Bridge:
    """Passes the robot's events from the executor's thread to the desk, which runs in the loop's thread."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
        self._desk = desk
        self._loop = loop

    def on_image(self) -> None:
        self._post(self._desk.on_image)

    def on_thought(self, message: msg.Reasoning) -> None:
        self._post(partial(self._desk.on_thought, message))

    def on_segmentation(self, message: msg.Segmentation) -> None:
        self._post(partial(self._desk.on_segmentation, message))

    def on_diagnostics(self, statuses: list[Any]) -> None:
        self._post(partial(self._desk.on_diagnostics, statuses))

    def on_node(self, problem: str, camera: str) -> None:
        self._post(partial(self._desk.on_node, problem, camera))

    def on_ended(self, query_id: str, result: msg.Segmentation | None, error: str) -> None:
        self._post(partial(self._desk.on_ended, query_id, result, error))

    def _post(self, work: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)


def _continues(entry: Exchange, message: msg.Segmentation) -> bool:
    """Whether a message belongs to a question that already has an answer. Else it is a new one with the same id."""
    stands = entry.mode in STANDING or any(region.track_id for region in message.regions)
    return entry.question == message.question and (stands or _is_same(entry, message))


def _is_same(entry: Exchange, message: msg.Segmentation) -> bool:
    known = entry.answer
    return known is not None and (known.status, known.header.stamp) == (message.status, message.header.stamp)


def _pictures(shot: Shot, longest_px: int) -> tuple[Any, bytes, bytes]:
    frame = frame_of(shot.image)
    return frame, jpeg_of(frame.rgb, longest_px), jpeg_of(frame.rgb, THUMBNAIL_PX)


def _masks(message: msg.Segmentation) -> list[BoolMask]:
    return [decode_mask(region.mask) for region in message.regions]

"""The running node as coroutines. ROS runs in a thread, and the asyncio loop waits for its results."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

from reasonseg_ros.action import Segment
from reasonseg_ros.errors import InvalidInput, ReasonSegError
from reasonseg_ros.images.messages import frame_from_message
from reasonseg_ros.msg import Segmentation
from reasonseg_ros.ros.client.answer_pictures import AnswerPictures
from reasonseg_ros.ros.client.asking import GONE_S, absence, check_alone
from reasonseg_ros.ros.outbox import Outbox
from reasonseg_ros.srv import Prompt
from reasonseg_ros.stamps import header_stamp_ns
from reasonseg_ros.types import RgbImage

T = TypeVar("T")
TICK_S = 0.05
LOOK_S = 0.25
"""Period of the check whether the node still runs, during a wait."""
QUEUE = 100
SETTLE_S = 0.3
"""Time for the node to discover a new subscription, after its publisher was found here."""
PICTURE_S = 3.0
"""Maximum wait for the picture of an answer, which is published right after it."""
MOST_FOLLOWED = 5000
"""Maximum messages of a followed question."""
CAMERA_KINDS = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}


class NodeLink:
    """Asks the node `name`. Await the coroutines in one asyncio loop; ROS entities are used in ROS's thread only.

    They raise ReasonSegError if the node does not appear within `wait_s` seconds, ends, or does not answer within
    `limit_s` seconds. Cancelling a coroutine cancels its question.
    """

    def __init__(self, node: Node, name: str, image_topic: str, wait_s: float, limit_s: float) -> None:
        self._node = node
        self._name = name
        self._image_topic = image_topic
        self._wait_s = wait_s
        self._limit_s = limit_s
        self._outbox = Outbox(node)
        self._action = ActionClient(node, Segment, f"{name}/segment")
        self._prompt = node.create_client(Prompt, f"{name}/prompt")

    async def ask(self, goal: Segment.Goal) -> Segmentation:
        """The answer to a goal of a mode that ends without being cancelled."""
        return await self._ask(goal, asyncio.Event(), self._limit_s)

    async def prompt(self, request: Prompt.Request) -> Segmentation:
        """The answer to a request with boxes and points."""
        await self._wait_for_node(self._prompt.service_is_ready)
        calling = asyncio.ensure_future(self._result_of(lambda: self._prompt.call_async(request)))
        answer: Segmentation = (await self._while_alive(calling, self._limit_s)).segmentation
        return answer

    async def follow(self, goal: Segment.Goal, seconds: float) -> tuple[list[Segmentation], Segmentation | None]:
        """Track the targets of a goal of mode `track` for `seconds` after the first answer.

        Returns at least one answer, oldest first. The second value is the last answer if the question ended early, and
        None if it was still tracked.
        """
        answers: list[Segmentation] = []
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def keep(answer: Segmentation) -> None:
            if answer.query_id != goal.query_id or stop.is_set() or len(answers) == MOST_FOLLOWED:
                return
            if not answers:
                loop.call_later(seconds, stop.set)
            answers.append(answer)

        topic = f"{self._name}/segmentation"
        await self._wait_for_node(self._action.server_is_ready)
        async with self._subscribed(Segmentation, topic, keep, durability=DurabilityPolicy.TRANSIENT_LOCAL):
            last = await self._ask(goal, stop, self._limit_s + seconds)
        if stop.is_set():
            return answers, None
        return answers or [last], last

    async def with_picture(self, asking: Callable[[], Awaitable[Segmentation]]) -> tuple[Segmentation, RgbImage | None]:
        """The answer of `asking`, and its image with the masks drawn, uint8 [H, W, 3]; None if none arrived in time."""
        pictures = AnswerPictures()
        await self._wait_for_node(self._action.server_is_ready)
        async with self._subscribed(CompressedImage, f"{self._name}/overlay/compressed", pictures.keep):
            await asyncio.sleep(SETTLE_S)
            answer = await asking()
            await _until(lambda: pictures.of(answer) is not None, PICTURE_S)
        message = pictures.of(answer)
        return answer, None if message is None else frame_from_message(message).rgb

    async def look(self) -> tuple[RgbImage, int]:
        """The next camera image as uint8 [H, W, 3], and its stamp in nanoseconds."""
        topic = self._image_topic
        if not await _until(lambda: bool(self._publishers(topic, CAMERA_KINDS)), self._wait_s):
            raise ReasonSegError(
                f"{topic} has no publisher of images; start the camera, or name its topic with --image"
            )
        seen: list[Any] = []
        kind = CAMERA_KINDS[self._publishers(topic, CAMERA_KINDS)[0].topic_type]
        async with self._subscribed(kind, topic, seen.append):
            if not await _until(lambda: bool(seen), self._wait_s):
                raise ReasonSegError(
                    f"{topic} has a publisher, but no image came within {self._wait_s:g} s; check the camera"
                )
        return frame_from_message(seen[0]).rgb, header_stamp_ns(seen[0].header)

    async def _ask(self, goal: Segment.Goal, stop: asyncio.Event, limit_s: float) -> Segmentation:
        """The last answer to a goal. The goal is cancelled when `stop` is set, or when this coroutine is."""
        await self._wait_for_node(self._action.server_is_ready)
        sending = asyncio.ensure_future(self._result_of(lambda: self._action.send_goal_async(goal)))
        try:
            handle = await self._while_alive(sending, limit_s)
        except BaseException:
            sending.add_done_callback(self._cancel_sent)
            raise
        if not handle.accepted:
            raise ReasonSegError(f"the node {self._name} did not accept the question")
        result = asyncio.ensure_future(self._result_of(handle.get_result_async))
        stopping = asyncio.ensure_future(self._cancel_at(stop, handle))
        try:
            answer: Segmentation = (await self._while_alive(result, limit_s)).result.segmentation
        finally:
            stopping.cancel()
            if not result.done():
                result.cancel()
                self._outbox.post(handle.cancel_goal_async)
        return answer

    async def _cancel_at(self, stop: asyncio.Event, handle: Any) -> None:
        await stop.wait()
        self._outbox.post(handle.cancel_goal_async)

    async def _wait_for_node(self, is_ready: Callable[[], bool]) -> None:
        if not await _until(is_ready, self._wait_s):
            raise ReasonSegError(absence(self._node, self._name, self._wait_s))
        check_alone(self._node, self._name)

    async def _while_alive(self, waiting: asyncio.Future[T], limit_s: float) -> T:
        """The result of `waiting`. Raises ReasonSegError after `limit_s` seconds, or if the node ends."""
        start_s = seen_s = time.monotonic()
        while not (await asyncio.wait({waiting}, timeout=LOOK_S))[0]:
            now_s = time.monotonic()
            if self._action.server_is_ready():
                seen_s = now_s
            elif now_s - seen_s > GONE_S:
                raise ReasonSegError(f"the node {self._name} ended before it answered; see its log")
            if now_s - start_s > limit_s:
                raise ReasonSegError(f"the node {self._name} did not answer within {limit_s:g} s")
        return waiting.result()

    def _cancel_sent(self, sending: asyncio.Future[Any]) -> None:
        """Cancel an abandoned goal as soon as the node has accepted it."""
        if not sending.cancelled() and sending.exception() is None and sending.result().accepted:
            self._outbox.post(sending.result().cancel_goal_async)

    @asynccontextmanager
    async def _subscribed(
        self,
        kind: type,
        topic: str,
        keep: Callable[[Any], object],
        durability: DurabilityPolicy = DurabilityPolicy.VOLATILE,
    ) -> AsyncIterator[None]:
        """Subscribe while entered; `keep` gets the messages in the loop's thread. First waits for a publisher."""
        await _until(lambda: bool(self._publishers(topic)), self._wait_s)
        offered = {info.qos_profile.reliability for info in self._publishers(topic)}
        best_effort = ReliabilityPolicy.BEST_EFFORT in offered
        qos = QoSProfile(
            depth=QUEUE,
            reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.VOLATILE if best_effort else durability,
        )
        loop = asyncio.get_running_loop()
        take = partial(_hand_over, loop, keep)
        subscription = await self._in_ros(lambda: self._node.create_subscription(kind, topic, take, qos))
        try:
            yield
        finally:
            self._outbox.post(lambda: self._node.destroy_subscription(subscription))

    def _publishers(self, topic: str, kinds: Container[str] | None = None) -> list[Any]:
        infos = self._node.get_publishers_info_by_topic(topic)
        return [info for info in infos if kinds is None or info.topic_type in kinds]

    async def _in_ros(self, work: Callable[[], T]) -> T:
        """Run `work` in ROS's thread, and return or raise its result."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def do() -> None:
            try:
                _hand_over(loop, partial(_settle, result), work(), None)
            except Exception as error:
                _hand_over(loop, partial(_settle, result), None, error)

        self._outbox.post(do)
        return await result

    async def _result_of(self, begin: Callable[[], Any]) -> Any:
        """Call `begin` in ROS's thread, and return the result of its rclpy future."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Any] = loop.create_future()

        def on_done(future: Any) -> None:
            error = future.exception()
            _hand_over(loop, partial(_settle, result), None if error else future.result(), error)

        await self._in_ros(lambda: begin().add_done_callback(on_done))
        return await result


def _hand_over(loop: asyncio.AbstractEventLoop, take: Callable[..., object], *values: Any) -> None:
    """Call `take` in the loop's thread, unless the loop has ended."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(take, *values)


def _settle(result: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if result.done():  # it was cancelled
        return
    if error is None:
        result.set_result(value)
    else:
        result.set_exception(error)


async def _until(done: Callable[[], bool], limit_s: float) -> bool:
    deadline_s = time.monotonic() + limit_s
    while not (reached := done()) and time.monotonic() < deadline_s:
        await asyncio.sleep(TICK_S)
    return reached


@contextmanager
def connected(name: str, image_topic: str, wait_s: float, limit_s: float) -> Iterator[NodeLink]:
    """A connection to the node in a separate ROS context. Raises InvalidInput for times that are not positive."""
    if wait_s <= 0 or limit_s <= 0:
        raise InvalidInput(f"--wait {wait_s:g} --limit {limit_s:g}; expected seconds above 0")
    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("reasonseg_mcp", context=context, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    link = NodeLink(node, "/" + name.strip("/"), image_topic, wait_s, limit_s)
    thread = threading.Thread(target=_spin, args=(node, executor), name="reasonseg ros", daemon=True)
    thread.start()
    try:
        yield link
    finally:
        context.try_shutdown()
        thread.join(5.0)
        executor.shutdown()
        node.destroy_node()


def _spin(node: Node, executor: SingleThreadedExecutor) -> None:
    """Spin until the context is shut down. A failing callback is logged and does not end the loop."""
    while node.context.ok():
        try:
            executor.spin_once(timeout_sec=1.0)
        except ExternalShutdownException:
            return
        except Exception as error:
            if node.context.ok():
                node.get_logger().error(f"a callback failed, the connection continues: {type(error).__name__}: {error}")

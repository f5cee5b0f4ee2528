"""The node's camera: subscriptions that check messages and pass on images, each with depth and pose."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from reasonseg_ros.faults import reason
from reasonseg_ros.images import messages as images
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.live.stream.stamps import RESTART_NS, Stamps, Step
from reasonseg_ros.ros.diagnostics import DARK_REMEDY, CameraHealth
from reasonseg_ros.ros.inputs.camera_infos import CameraInfos, KnownInfo, info_of_image
from reasonseg_ros.ros.inputs.depth_health import DepthHealth
from reasonseg_ros.ros.inputs.input_topic import InputTopic
from reasonseg_ros.ros.inputs.synchroniser import Pair, Synchroniser
from reasonseg_ros.ros.inputs.transforms import NoTransform, Transforms
from reasonseg_ros.settings import Settings
from reasonseg_ros.space import calibration
from reasonseg_ros.space.lens import carried_depth
from reasonseg_ros.spatial import CameraPose
from reasonseg_ros.types import Frame

RunLater = Callable[[Callable[[], None]], None]
"""Runs a function in the executor's thread."""
UNSTAMPED = "image and depth have no stamp (0), so they may be of different times; have their drivers stamp them"
PUBLISHERS_S = 0.5
"""Period of checking the topics' publishers."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """An image as it arrived, with its pose and calibration, which may be dropped before a question comes."""

    message: Any
    pose: CameraPose | None
    infos: tuple[KnownInfo, ...] = ()


class Camera:
    """Subscribes `image`, `camera_info` and `depth` while it lives; drops and counts what cannot be used.

    `show` gets images as they arrived; the worker decodes them only when it needs the frame, because decoding takes
    time. If depth, calibration or transform are unusable, the image is used without them and its `warning_3d` says why.
    `on_restart` is called when simulated time goes back; a stream detects stamps that go back itself.
    """

    def __init__(
        self,
        node: Node,
        settings: Settings,
        health: CameraHealth,
        depth_health: DepthHealth,
        show: Callable[[Arrival], None],
        post: RunLater,
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        camera = settings.now.camera
        self._node = node
        self._settings = settings
        self._health = health
        self._depth_health = depth_health
        self._show = show
        self._post = post
        self._on_restart = on_restart
        self._stamps = Stamps()
        self._transforms = Transforms(node, settings.now.points.target_frame)
        self._pairing: Synchroniser[_Seen, Any] = Synchroniser(camera.depth_tolerance_s, camera.depth_wait_s)
        kinds = {"raw": Image, "compressed": CompressedImage}
        depth_kind, kind = kinds[camera.depth_transport], kinds[camera.transport]
        qos = camera.reliability, camera.depth, post
        self._depth_topic = InputTopic(node, depth_kind, "depth", self._on_depth, *qos)
        self._image_topic = InputTopic(node, kind, "image", self._on_image, *qos, on_lost=health.lost_on_the_way)
        self._infos = CameraInfos(node, *qos)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._clock_jumps = node.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False),
            post_callback=self._on_clock_jump,
        )
        self._publishers = node.create_timer(PUBLISHERS_S, self._look_at_publishers, clock=steady)
        # Runs only while an image waits for its depth.
        self._overdue = node.create_timer(max(camera.depth_wait_s, 0.001), self._on_overdue, clock=steady)
        self._overdue.cancel()

    def destroy(self) -> None:
        self._node.destroy_timer(self._overdue)
        self._node.destroy_timer(self._publishers)
        self._clock_jumps.unregister()
        self._image_topic.destroy()
        self._depth_topic.destroy()
        self._infos.destroy()
        self._transforms.destroy()

    @property
    def _max_megapixels(self) -> float:
        return self._settings.now.camera.max_megapixels

    def describe(self) -> str:
        """The image topic with its publishers, and why nothing comes from them. For the executor's thread."""
        return self._image_topic.report()

    def _look_at_publishers(self) -> None:
        for topic in (self._image_topic, self._depth_topic, self._infos.input):
            topic.follow_publishers()
        self._health.is_best_effort = self._image_topic.is_best_effort
        self._health.published_by(self._image_topic.publishers())

    def _on_image(self, message: Any, info: Any) -> None:
        self._health.arrived(info.get("publication_sequence_number"))
        try:
            check = images.check_compressed if images.is_compressed(message) else images.check_image
            check(message, self._max_megapixels)
        except images.UnusableImage as error:
            self._drop(error)
            return
        stamp_ns = images.stamp_ns(message.header)
        if self._stamps.step(stamp_ns) is Step.RESTART:
            self._begin_again(stamp_ns)
        self._infos.look_for_latched()
        self._depth_health.is_expected = self._node.count_publishers(self._depth_topic.topic) > 0
        try:
            pose = self._pose(message.header.frame_id, stamp_ns)
        except NoTransform:
            pose = None  # it may be known when the frame is needed
        self._hand_on(self._pairing.add_image(stamp_ns, _Seen(message, pose), time.monotonic()))

    def _on_clock_jump(self, _: Any) -> None:
        """Simulated time went back: earlier stamps are invalid."""
        self._stamps.forget()
        self._begin_again(-2 * RESTART_NS)
        self._on_restart()

    def _begin_again(self, stamp_ns: int) -> None:
        """The stream restarts at that stamp, like a looping bag: drop what belongs to the earlier one."""
        self._health.restarts += 1
        self._hand_on(self._pairing.begin_again(stamp_ns, time.monotonic()))
        self._transforms.begin_again()
        self._infos.begin_again(stamp_ns)

    def _on_depth(self, message: Any) -> None:
        self._depth_health.arrived()
        try:
            images.check_depth(message, self._max_megapixels)
        except images.UnusableImage as error:
            self._depth_problem(error.reason, str(error))
            return
        self._hand_on(self._pairing.add_depth(images.stamp_ns(message.header), message, time.monotonic()))

    def _on_overdue(self) -> None:
        self._hand_on(self._pairing.overdue(time.monotonic()))

    def _hand_on(self, pairs: list[Pair[_Seen, Any]]) -> None:
        for pair in pairs:
            message, depth = pair.image.message, pair.depth
            stamp_ns = images.stamp_ns(message.header)
            seen = replace(pair.image, infos=self._infos.near(stamp_ns))
            self._depth_health.count(pair)
            warning = ""
            if depth is None and self._depth_health.is_expected:
                camera = self._settings.now.camera
                limit_s, limit_ms = camera.depth_wait_s, 1000 * camera.depth_tolerance_s
                warning = f"no depth image within {limit_ms:g} ms of the image's stamp came in {limit_s:g} s"
                if pair.lag_s > limit_s:
                    warning += f"; depth comes {pair.lag_s:.2f} s after its image, raise camera.depth_wait_s"
                self._depth_problem("no depth of that stamp", warning)
            size_bytes = len(message.data) + (len(depth.data) if depth is not None else 0)
            load = partial(self._frame, seen, depth, warning)
            load_image = partial(images.frame_from_message, message, max_megapixels=self._max_megapixels)
            self._show(Arrival(stamp_ns, size_bytes, load, load_image))
            time.sleep(0)  # release Python's lock for the worker now, not only when the executor waits again
        if self._pairing.is_waiting:
            if self._overdue.is_canceled():
                self._overdue.reset()
        else:
            self._overdue.cancel()

    def _frame(self, seen: _Seen, depth: Any, warning: str) -> Frame:
        """Runs in the worker. Raises UnusableImage."""
        try:
            frame = images.frame_from_message(seen.message, max_megapixels=self._max_megapixels)
        except images.UnusableImage as error:
            self._post(partial(self._drop, error))
            raise
        if images.is_dark_16bit(seen.message, frame.rgb):
            self._post(self._warn_dark)
        if depth is None:
            return replace(frame, warning_3d=warning)
        try:
            return self._in_space(frame, seen, depth)
        except (images.UnusableImage, calibration.UnusableCalibration) as error:
            self._post(partial(self._depth_problem, error.reason, str(error)))
            return replace(frame, warning_3d=str(error))

    def _in_space(self, frame: Frame, seen: _Seen, depth: Any) -> Frame:
        """The frame with depth, intrinsics and pose.

        Without its pose it stays in the camera's frame and says why. Assumptions are in `warning_3d`.

        Raises UnusableImage and UnusableCalibration.
        """
        if not frame.frame_id:
            raise images.UnusableImage("no frame_id", "the image's frame_id is empty; have the camera's driver set it")
        camera = self._settings.now.camera
        depth_m = images.depth_from_image(depth, self._max_megapixels)
        notes = [self._check_depth_frame(frame, depth), images.depth_doubt(depth_m)]
        if not frame.stamp_ns:
            notes.append(UNSTAMPED)
        if depth_m.shape != frame.rgb.shape[:2]:
            raise images.depth_of_another_size(depth_m, frame.size_wh)
        self._infos.await_first()
        infos = (*seen.infos, *self._infos.near(frame.stamp_ns))
        info = info_of_image(infos, frame.stamp_ns, frame.frame_id, frame.size_wh, camera.info_max_age_s)
        kinds = self._kinds()
        lens = calibration.intrinsics_from_info(info, frame.size_wh, kinds.image)
        reading = "; ".join(kinds.notes(info, frame.size_wh))
        self._post(partial(self._read_as, reading))
        notes.append(reading)
        if kinds.depth != kinds.image and calibration.kinds_differ(info, frame.size_wh, kinds.image):
            depth_lens = calibration.intrinsics_from_info(info, frame.size_wh, kinds.depth)
            depth_m = carried_depth(depth_m, depth_lens, lens)
        pose = seen.pose
        if pose is None:
            try:
                wait_s = self._settings.now.points.transform_wait_s
                pose = self._pose(frame.frame_id, frame.stamp_ns, wait_s)
            except NoTransform as error:
                notes.append(str(error))
                self._post(partial(self._depth_problem, "no transform", str(error)))
        warning = "; ".join(note for note in notes if note)
        return replace(frame, depth_m=depth_m, intrinsics=lens, camera_pose=pose, warning_3d=warning)

    def _pose(self, frame_id: str, stamp_ns: int, wait_s: float = 0.0) -> CameraPose | None:
        """Raises NoTransform for any error of tf2, because an image without a pose is still usable."""
        try:
            return self._transforms.camera_pose(frame_id, stamp_ns, wait_s)
        except NoTransform:
            raise
        except Exception as error:
            raise NoTransform(f"tf2 failed: {reason(error)}") from error

    def _check_depth_frame(self, frame: Frame, depth: Any) -> str:
        """A note if the settings allow depth of another frame. Raises UnusableImage if they do not."""
        frame_id = depth.header.frame_id
        if calibration.same_frame(frame_id, frame.frame_id):
            return ""
        if self._settings.now.camera.depth_any_frame:
            return f"depth of frame {frame_id!r} is used by camera.depth_any_frame"
        raise images.UnusableImage(
            "depth of another frame",
            f"{frame_id!r} for an image of {frame.frame_id!r}; publish depth that is registered to the colour image, "
            "or set camera.depth_any_frame if it is",
        )

    def _read_as(self, reading: str) -> None:
        if reading != self._depth_health.reading:
            self._depth_health.reading = reading
            self._node.get_logger().info(f"calibration: {reading or 'the same for a raw and a rectified image'}")

    def _kinds(self) -> calibration.Kinds:
        camera = self._settings.now.camera
        topics = self._image_topic.topic, self._depth_topic.topic
        return calibration.Kinds.of(*topics, camera.rectification, camera.depth_rectification)

    def _drop(self, error: images.UnusableImage) -> None:
        self._health.drop(error.reason, str(error))
        self._node.get_logger().warning(f"image dropped: {error}", throttle_duration_sec=5.0)

    def _warn_dark(self) -> None:
        self._health.darkened()
        self._node.get_logger().warning(f"nearly black image: {DARK_REMEDY}", throttle_duration_sec=30.0)

    def _depth_problem(self, reason: str, detail: str) -> None:
        self._depth_health.problem(reason, detail)
        self._node.get_logger().warning(f"no 3D: {detail}", throttle_duration_sec=5.0)

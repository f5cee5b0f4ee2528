"""Everything that exists only while the node is configured."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode

from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.live.worker import Worker
from reasonseg_ros.methods.port import Method
from reasonseg_ros.ros.diagnostics import CameraHealth, QuestionHealth
from reasonseg_ros.ros.inputs.camera import Camera
from reasonseg_ros.ros.inputs.depth_health import DepthHealth
from reasonseg_ros.ros.outbox import Outbox
from reasonseg_ros.ros.publishing.outputs import Outputs
from reasonseg_ros.ros.recording import Recordings
from reasonseg_ros.settings import Settings

LoadMethod = Callable[[Settings, Callable[[str, "float | None"], None]], Method]
"""Builds the method, which reads the settings at each answer. Reports slow steps and their progress, 0 to 1."""


def load_models(settings: Settings, report: Callable[[str, float | None], None]) -> Method:
    """The configured method with its checkpoints."""
    # Imported late, so that a missing or broken model library is a failed configuration and not a dead node.
    from reasonseg_ros.methods.loading import load_method

    return load_method(settings, report)


class Session:
    """The worker with its models, the publishers and the camera: created and closed together.

    Only for the executor's thread.

    Attributes:
        is_active: whether images and questions are accepted.
    """

    def __init__(
        self,
        node: LifecycleNode,
        method: Method,
        settings: Settings,
        camera_health: CameraHealth,
        depth_health: DepthHealth,
        question_health: QuestionHealth,
        outbox: Outbox,
        recordings: Recordings,
    ) -> None:
        self.is_active = False
        self._node = node
        self._camera_health = camera_health
        self._outbox = outbox
        self.recordings = recordings
        self.worker = Worker(method, method.make_tracker)
        self.recordings.start(self.worker.buffer)
        self.outputs = Outputs(node, settings.now, question_health)
        try:
            self.camera = Camera(
                node, settings, camera_health, depth_health, self._show, outbox.post,
                on_restart=self.worker.forget_frames,
            )  # fmt: skip
        except Exception:
            self.outputs.destroy()
            self.recordings.stop()
            raise
        self.worker.start()

    def close(self) -> bool:
        """End all questions, publish their last outcomes, and release everything.

        Returns False if the model is still busy with its question, which then ends in the background.
        """
        has_ended = self.worker.stop()
        self.camera.destroy()
        if self._node.context.ok():
            self._outbox.empty()
        self.recordings.stop()
        if self._node.context.ok():
            self._outbox.empty()  # results of the last recordings
        self.outputs.destroy()
        return has_ended

    def _show(self, arrival: Arrival) -> None:
        if not self.is_active or self.worker.show(arrival):
            return
        detail = f"{arrival.stamp_ns / 1e9:.3f} s came after a newer one or twice; nothing is followed to such images"
        self._camera_health.drop("stamp not newer", f"stamp {detail}")

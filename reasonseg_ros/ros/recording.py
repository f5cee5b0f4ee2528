"""The node's black boxes: the recorder, the service ~/flag, and the diagnostic."""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rclpy.task import Future

from reasonseg_ros import msg, srv
from reasonseg_ros.config import RecordConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.live.stream.frame_buffer import FrameBuffer
from reasonseg_ros.plain_text import one_line, plain_text
from reasonseg_ros.recording.content import SentMessage
from reasonseg_ros.recording.recorder import Recorder, RecordHealth
from reasonseg_ros.ros.diagnostics import OK, WARN, diagnostic
from reasonseg_ros.ros.outbox import Outbox
from reasonseg_ros.settings import Settings

LIBRARIES = ("mcap", "rosbags")
"""Packages that only recording needs."""


class Recordings:
    """Serves ~/flag, and counts the recordings of the current session.

    Attributes:
        recorder: None while the node is not configured.
    """

    def __init__(self, node: Node, settings: Settings, outbox: Outbox) -> None:
        self.recorder: Recorder | None = None
        self.health = RecordHealth()
        self._node = node
        self._settings = settings
        self._outbox = outbox
        self._reported = 0
        # It waits until the file is written, so no other callback may wait for it.
        node.create_service(srv.Flag, "~/flag", self._on_flag, callback_group=ReentrantCallbackGroup())

    def start(self, buffer: FrameBuffer) -> None:
        """Start a recorder. Raises ConfigError if the settings ask for recordings that cannot be written."""
        record, name = self._settings.now.record, self._node.get_fully_qualified_name()
        missing = [library for library in LIBRARIES if find_spec(library) is None]
        if record.answers != "never" and missing:
            raise ConfigError(
                f"record.answers = {record.answers!r}; it needs {' and '.join(missing)}: "
                f"pip install {' '.join(missing)}, or set it to never"
            )
        folder = folder_of(record, name)
        self.recorder = Recorder(self._settings, folder, name, buffer, self.health, self._report)
        self.recorder.start()

    def stop(self) -> None:
        """Record waiting answers, and stop the recorder."""
        recorder, self.recorder = self.recorder, None
        if recorder is not None and not recorder.close():
            self._node.get_logger().warning("recordings that were not written yet are lost")

    def take(self, outcome: Outcome, message: msg.Segmentation, reasoning: msg.Reasoning | None) -> None:
        """Pass an answer with its messages to the recorder."""
        if self.recorder is not None:
            published = [_published("Segmentation", message)]
            self.recorder.take(outcome, published + ([_published("Reasoning", reasoning)] if reasoning else []))

    def status(self) -> DiagnosticStatus:
        """WARN if answers that should have been recorded were not, since the last call."""
        answers, health = self._settings.now.record.answers, self.health
        lost = sum(health.lost.values())
        fresh, self._reported = lost - self._reported, lost
        level, text = OK, f"record.answers is {answers}; {health.written} recorded"
        if fresh:
            level, text = WARN, one_line(f"{fresh} answers were not recorded: {health.last_problem}")
        values: dict[str, object] = {"recorded": health.written, "lost": lost, "folder": health.folder}
        values |= {"size, MB": f"{health.used_bytes / 1e6:.1f}"}
        values |= {f"lost: {kind}": count for kind, count in sorted(health.lost.items())}
        return diagnostic("recordings", level, text, values)

    async def _on_flag(self, request: srv.Flag.Request, response: srv.Flag.Response) -> srv.Flag.Response:
        if self.recorder is None:
            response.message = "the node is not configured; configure it first"
            return response
        settled = Future()

        def on_recorded(path: str, problem: str) -> None:
            self._outbox.post(lambda: settled.set_result((path, problem)))

        self.recorder.flag(one_line(request.query_id), plain_text(request.note), on_recorded)
        path, problem = await settled
        response.success, response.message = bool(path), path or problem
        return response

    def _report(self, problem: str) -> None:
        self._outbox.post(partial(self._log, f"not recorded: {problem}"))

    def _log(self, line: str) -> None:
        self._node.get_logger().warning(line, throttle_duration_sec=5.0)


def folder_of(record: RecordConfig, node_name: str) -> Path:
    """Folder of a node's recordings: `record.folder`, else a folder with the node's name in ROS_HOME."""
    if record.folder:
        return Path(record.folder).expanduser()
    home = os.environ.get("ROS_HOME") or Path.home() / ".ros"
    return Path(home, "reasonseg", node_name.strip("/").replace("/", "."))


def _published(kind: str, message: Any) -> SentMessage:
    return SentMessage(kind, f"/reasonseg/{kind.lower()}", partial(serialize_message, message))

"""The settings of the console."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from reasonseg_ros.errors import InvalidInput

PORT = 8090


@dataclass(frozen=True)
class ConsoleOptions:
    """The settings of one console.

    Attributes:
        node_name: full name of the node.
        host, port: address to listen on; port 0 takes a free one.
        truth: bag that ground truth is saved in.
        review: folder of a run of `reasonseg data` whose questions are reviewed; None for none.
        image_topic, depth_topic, camera_info_topic: the camera's topics; empty for those of the node.
        frame_hz: maximum rate of live images.
        picture_px: longest side of the pictures that are sent to browsers.
        kept_answers, kept_mb: maximum entries and megabytes of the history.
        camera_mb: maximum megabytes of camera images that are cached until their answer arrives.

    Raises InvalidInput for a value out of range.
    """

    node_name: str = "/reasonseg"
    host: str = "127.0.0.1"
    port: int = PORT
    truth: Path = field(default_factory=lambda: Path("out/console/truth"))
    review: Path | None = None
    image_topic: str = ""
    depth_topic: str = ""
    camera_info_topic: str = ""
    frame_hz: float = 10.0
    picture_px: int = 960
    kept_answers: int = 50
    kept_mb: float = 256.0
    camera_mb: float = 256.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InvalidInput(f"port {self.port}; expected 0 to 65535")
        if not 0.1 <= self.frame_hz <= 60:
            raise InvalidInput(f"{self.frame_hz:g} live images a second; expected 0.1 to 60")
        if not 160 <= self.picture_px <= 4096:
            raise InvalidInput(f"pictures of {self.picture_px} pixels; expected 160 to 4096")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

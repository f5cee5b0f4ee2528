"""Child processes that end with the demo, and a separate ROS domain for them."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from reasonseg_ros.errors import InvalidInput, ReasonSegError
from reasonseg_ros.files.resources import resource

LAST_LINES = 25
PATIENCE_S = ((signal.SIGINT, 5.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))
"""Signals that end a process, in order, each with the time to wait for its effect."""


class ChildDied(ReasonSegError):
    """A process of the demo ended unexpectedly. The message contains the end of its log."""


class Child:
    """A process in a separate process group, with its output in `log`.

    Ctrl-C thus reaches only the demo, which then ends the whole group.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )

    def check(self) -> None:
        """Raises ChildDied if the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise ChildDied(f"the {self.name} ended with code {code}; the end of {self.log}:\n{self.last_lines()}")

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])

    def end(self) -> None:
        """End the process and all processes that it started."""
        for number, patience_s in PATIENCE_S:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(patience_s)
                break
            except subprocess.TimeoutExpired:
                continue
        # The process has ended; a grandchild that ignored the signals is killed.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


_reservations: list[socket.socket] = []
"""Reservations that hold until this process ends."""


def reserve_domain() -> tuple[int, socket.socket]:
    """A ROS domain id that is unused on this machine, and a socket that reserves it until it is closed.

    The first participant of a domain listens on UDP port 7410 + 250 * id (DDSI-RTPS 9.6.1.1). DDS does not use the TCP
    port with the same number. Binding it reserves the domain, so that two processes never choose the same one. Ids
    above 101 would reach into Linux's ephemeral ports. Raises InvalidInput if no domain is free.
    """
    for domain in random.sample(range(1, 101), 100):
        port = 7410 + 250 * domain
        reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            reservation.bind(("127.0.0.1", port))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("", port))
        except OSError:
            reservation.close()
            continue
        return domain, reservation
    raise InvalidInput("all ROS domains from 1 to 100 are in use; end some ROS processes")


def use_private_ros() -> int:
    """Set the environment of this process and its children to an unused ROS domain on loopback. Returns its id."""
    domain, reservation = reserve_domain()
    _reservations.append(reservation)
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    else:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if "FASTRTPS_DEFAULT_PROFILES_FILE" not in os.environ:
        # Camera images do not fit the default shared-memory segment.
        os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(resource("config/fastdds_shm.xml"))
    return domain

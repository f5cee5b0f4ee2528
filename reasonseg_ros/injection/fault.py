"""The description of a fault, and the counter of calls that triggers it."""

from __future__ import annotations

import errno
import functools
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reasonseg_ros.config.faults import FAULT_KINDS, FAULT_PORTS

MAKE: dict[str, Callable[[], BaseException]] = {
    "os_error": lambda: OSError(errno.EIO, os.strerror(errno.EIO)),
    "runtime_error": lambda: RuntimeError("injected fault"),
    "memory_error": lambda: MemoryError("injected fault"),
}
"""The errors by kind. The only other kind is `hang`."""


@dataclass(frozen=True)
class Fault:
    """Call number `call` of `port`, counted from 1, raises an error or is delayed by `hang_s` seconds.

    With `repeat`, every `call`-th call does. Raises ValueError for an unknown port or kind, or a call below 1.
    """

    port: str
    call: int
    kind: str
    hang_s: float = 5.0
    repeat: bool = False

    def __post_init__(self) -> None:
        if self.port not in FAULT_PORTS or self.kind not in FAULT_KINDS or self.call < 1:
            raise ValueError(f"no such fault: {self}")

    def __str__(self) -> str:
        how = f"hangs for {self.hang_s:g} s" if self.kind == "hang" else f"fails with {self.kind}"
        which = f"one in {self.call} calls" if self.repeat else f"call {self.call}"
        return f"fault injection (faults.*): {which} of {self.port} {how}"

    def strikes(self, call: int) -> bool:
        """Whether call number `call` fails."""
        return call % self.call == 0 if self.repeat else call == self.call


class Injector:
    """Counts the calls of every port from any thread, and makes the faulty ones fail.

    Attributes:
        fault: the fault; None only counts.
        calls: number of calls so far, by port.
        has_struck: whether the fault has occurred.
    """

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault
        self.calls: Counter[str] = Counter()
        self.has_struck = False
        self._lock = threading.Lock()
        self._released = threading.Event()

    def reach(self, port: str) -> None:
        """Count a call of `port`; raise or hang if the fault strikes it."""
        with self._lock:
            self.calls[port] += 1
            fault = self.fault
            if fault is None or port != fault.port or not fault.strikes(self.calls[port]):
                return
            self.has_struck = True
        if fault.kind == "hang":
            self._released.wait(fault.hang_s)
        else:
            raise MAKE[fault.kind]()

    def release(self) -> None:
        """End a current hang, and any later one at once."""
        self._released.set()

    def wrap(self, port: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, with its calls counted as calls of `port`."""

        @functools.wraps(function)
        def counted(*arguments: Any, **named: Any) -> Any:
            self.reach(port)
            return function(*arguments, **named)

        return counted

"""Fault injection (`injection/`): for tests, and off by default."""

from __future__ import annotations

from dataclasses import dataclass

from reasonseg_ros.config.setting import setting

FAULT_PORTS = (
    "engine_run", "token", "encode", "decode", "tracker_step", "transform", "publish",
    "open", "write", "fsync", "replace",
)  # fmt: skip
FAULT_KINDS = ("os_error", "runtime_error", "memory_error", "hang")


@dataclass(frozen=True)
class FaultsConfig:
    port: str = setting(
        "none", "for tests: the operation that gets a fault; needs REASONSEG_FAULTS=allow in the environment",
        choices=("none", *FAULT_PORTS), read_only=True,
    )  # fmt: skip
    call: int = setting(1, "the call of this operation that fails, counted from 1", 1, 1_000_000, read_only=True)
    repeat: bool = setting(False, "also fail at every multiple of this call", read_only=True)
    kind: str = setting("runtime_error", "kind of the fault", choices=FAULT_KINDS, read_only=True)
    hang_s: float = setting(5.0, "duration of a hang, seconds", 0.0, 86_400.0, read_only=True)

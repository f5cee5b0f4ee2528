"""Installs the fault of the parameters `faults.*`, if the environment allows it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reasonseg_ros.config.faults import FaultsConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.injection.fault import Fault, Injector
from reasonseg_ros.injection.ports import installed

ALLOWED = "REASONSEG_FAULTS"
"""Environment variable that must be `allow`, so that a parameter file alone cannot break a robot."""
_LOG = logging.getLogger(__name__)


def check_faults(config: FaultsConfig) -> None:
    """Raises ConfigError if a fault is configured but not allowed."""
    if config.port != "none" and os.environ.get(ALLOWED) != "allow":
        raise ConfigError(
            f"faults.port = {config.port!r} makes the program fail on purpose, for tests; set it to none, or set "
            f"{ALLOWED}=allow in the environment"
        )


@contextmanager
def configured_fault(config: FaultsConfig, folder: Path | None = None) -> Iterator[None]:
    """Install the configured fault until the `with` statement ends. Raises ConfigError if it is not allowed."""
    check_faults(config)
    if config.port == "none":
        yield
        return
    fault = Fault(config.port, config.call, config.kind, config.hang_s, config.repeat)
    _LOG.warning("%s", fault)
    with installed(Injector(fault), folder):
        yield

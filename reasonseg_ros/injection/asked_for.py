"""The fault that a configuration asks for, refused where nobody allowed it."""

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
"""Environment variable that has to be `allow`, so that a parameter file alone cannot break a robot."""
_LOG = logging.getLogger(__name__)


def check_faults(config: FaultsConfig) -> None:
    """Raises ConfigError if a fault is asked for and not allowed."""
    if config.port != "none" and os.environ.get(ALLOWED) != "allow":
        raise ConfigError(
            f"faults.port = {config.port!r} makes the program fail on purpose, for tests; leave it at none, or set "
            f"{ALLOWED}=allow in the environment"
        )


@contextmanager
def asked_for(config: FaultsConfig, folder: Path | None = None) -> Iterator[None]:
    """Install the configured fault until the `with` statement ends. Raises ConfigError if it is not allowed."""
    check_faults(config)
    if config.port == "none":
        yield
        return
    fault = Fault(config.port, config.call, config.kind, config.hang_s, config.repeat)
    _LOG.warning("%s", fault)
    with installed(Injector(fault), folder):
        yield

"""Turns an error in one stage of an answer into a status with the stage and the reason, never an exception."""

from __future__ import annotations

import logging
from dataclasses import replace

from reasonseg_ros.errors import OutOfMemory, ReasonSegError
from reasonseg_ros.types import Answer, Status

_MAX_CHARACTERS = 500
_LOG = logging.getLogger(__name__)


def failed(answer: Answer, stage: str, error: Exception) -> Answer:
    """`answer` as OUT_OF_MEMORY or FAILED. The stage is `reasoning`, `segmenting`, `tracking` or `second candidate`.

    Errors that this package does not raise on purpose are logged with their traceback.
    """
    is_memory = isinstance(error, (OutOfMemory, MemoryError))
    reason = " ".join(str(error).split())
    if not isinstance(error, (ReasonSegError, MemoryError)):
        _LOG.error("%s failed", stage, exc_info=error)
        reason = f"{type(error).__name__}: {reason}"
    elif not reason:
        reason = "out of memory; use a smaller image or model"
    status = Status.OUT_OF_MEMORY if is_memory else Status.FAILED
    return replace(answer, status=status, groundings=(), error=f"{stage}: {reason}"[:_MAX_CHARACTERS])

"""Checks whether the node accepts the settings, as far as possible without loading a model."""

from __future__ import annotations

from reasonseg_ros.doctor.finding import Finding, Wanted, fault, ok
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.methods.settings import check_settings
from reasonseg_ros.plain_text import one_line


def look_at_settings(wanted: Wanted) -> str:
    """Why the node would refuse the settings; empty if it would not."""
    try:
        check_settings(wanted.config)
    except ReasonSegError as error:
        return one_line(str(error))
    return ""


def judge_settings(refusal: str) -> list[Finding]:
    if refusal:
        return [fault(f"the node refuses these settings: {refusal}", "correct this parameter")]
    return [ok("the node accepts these settings")]

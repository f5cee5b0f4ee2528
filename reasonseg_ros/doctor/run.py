"""Runs the checks in order, and collects their findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from reasonseg_ros.doctor import machine, models, settings, software, topics
from reasonseg_ros.doctor.finding import Check, Finding, Level, Wanted, fault
from reasonseg_ros.faults import reason

CHECKS = (
    Check("python", software.look_at_python, software.judge_python),
    Check("libraries", software.look_at_libraries, software.judge_libraries),
    Check("ros", software.look_at_ros, software.judge_ros),
    Check("shared memory", machine.look_at_shared_memory, machine.judge_shared_memory),
    Check("gpu", machine.look_at_gpu, machine.judge_gpu),
    Check("runtimes", machine.look_at_runtimes, machine.judge_runtimes),
    Check("disk", machine.look_at_disk, machine.judge_disk),
    Check("clock", machine.look_at_clock, machine.judge_clock),
    Check("settings", settings.look_at_settings, settings.judge_settings),
    Check("models", models.look_at_models, models.judge_models),
    Check("engines", models.look_at_engines, models.judge_engines),
    Check("hub", models.look_at_hub, models.judge_hub),
    Check("topics", topics.look_at_robot, topics.judge_robot),
)

Named = tuple[str, Finding]
"""A finding with the name of its check."""


def diagnose(wanted: Wanted, checks: Sequence[Check] = CHECKS) -> Iterator[Named]:
    """The findings of all checks, in order. A check that raises gives a fault, and the others still run."""
    for check in checks:
        try:
            findings = check.judge(check.look(wanted))
        except Exception as error:  # on a broken machine, libraries raise anything
            findings = [
                fault(f"this check failed: {reason(error)}", "report it with the output of `reasonseg version`")
            ]
        for finding in findings:
            yield check.name, finding


def worst(findings: Sequence[Named]) -> Level:
    order = list(Level)
    return max((finding.level for _, finding in findings), key=order.index, default=Level.OK)


def as_values(findings: Sequence[Named]) -> dict[str, Any]:
    """JSON values: `worst` level, and every finding with check, level, text and remedy."""
    rows = [
        {"check": name, "level": str(one.level), "text": one.text, "remedy": one.remedy or None}
        for name, one in findings
    ]
    return {"worst": str(worst(findings)), "findings": rows}

"""Repeats the answers of black boxes from their files, and compares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reasonseg_ros.config import Config, config_from, settings
from reasonseg_ros.methods.port import Method
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.recording.comparison import ComparedStage, Tolerance, compared
from reasonseg_ros.recording.conditions import answering_settings, conditions_of, differences, matters, settings_of
from reasonseg_ros.recording.content import HISTORY, PROMPT, BlackBox
from reasonseg_ros.space.points import located
from reasonseg_ros.types import Segmentation, Status

LONGEST_ANSWER_S = 3600.0
"""Replaces the recorded time limit, so that the speed of the machine cannot change an answer."""


@dataclass(frozen=True)
class Replayed:
    """The result for one black box.

    Attributes:
        stages: the comparison of both answers; empty if it could not be answered again.
        problem: why it could not be answered again; empty if it could.
        changes: differences from the recording: settings, versions, machine, files of the models.
        positions: of the targets in the new answer, as text; empty without depth and calibration.
    """

    box: BlackBox
    stages: tuple[ComparedStage, ...] = ()
    problem: str = ""
    changes: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether it was answered again, and all stages are equal or within the tolerance."""
        return not self.problem and all(stage.is_same for stage in self.stages)

    @property
    def verdict(self) -> str:
        """`identical`, `within tolerance`, `differs` or `not answered`."""
        if self.problem:
            return "not answered"
        if not self.is_same:
            return "differs"
        return "within tolerance" if any(stage.difference for stage in self.stages) else "identical"

    @property
    def text(self) -> str:
        """The verdict with its reasons, on one line."""
        if self.problem:
            return one_line(f"{self.verdict}: {self.problem}")
        groups = {
            self.verdict: [stage.difference for stage in self.stages if not stage.is_same],
            "within tolerance": [stage.difference for stage in self.stages if stage.is_same and stage.difference],
        }
        parts = [f"{name}: {', '.join(stated)}" for name, stated in groups.items() if stated]
        return one_line("; ".join([*(parts or [self.verdict]), *self.positions]))


class Replay:
    """Answers with the recorded settings, changed by `overrides` (dotted names). Models stay loaded between answers.

    `load` makes the method of a configuration, for example `methods.loading.load_method`.
    """

    def __init__(
        self, load: Callable[[Config], Method], overrides: Mapping[str, Any], tolerance: Tolerance | None = None
    ) -> None:
        self._load = load
        self._overrides = dict(overrides)
        self._tolerance = tolerance or Tolerance()
        self._config: Config | None = None
        self._method: Method | None = None
        self._conditions: dict[str, Any] = {}

    def run(self, box: BlackBox) -> Replayed:
        """Answer again and compare.

        Raises ConfigError or ModelError if the models of the recording, or of the overrides, cannot be used.
        """
        if box.segmentation is None:
            return Replayed(box, problem=f"no method was asked: it ended as {box.status} ({box.error})")
        if box.segmentation.status is Status.CANCELLED:
            return Replayed(box, problem="it was cancelled while it was answered")
        config, unknown = self._configured(box)
        if config != self._config or self._method is None:
            self._method = None  # releases its memory first
            self._method, self._config, self._conditions = self._load(config), config, conditions_of(config)
        changes = [f"{name} is no parameter here" for name in unknown]
        changes += differences(answering_settings(box.settings), answering_settings(settings_of(config)))
        changes += differences(box.conditions, self._conditions)
        least = config.points.min_valid_share
        before, now = located(box.segmentation, least), located(self._answer(self._method, box), least)
        stages = tuple(compared(before, now, self._tolerance))
        return Replayed(box, stages, changes=tuple(changes), positions=_positions(now))

    def _configured(self, box: BlackBox) -> tuple[Config, list[str]]:
        """The settings to answer with, and the recorded parameters that this version does not have."""
        recorded = {name: value for name, value in box.settings.items() if matters(name)}
        known = {name for name, _, _ in settings()}
        values = {name: value for name, value in recorded.items() if name in known}
        values |= {"reasoner.time_limit_s": LONGEST_ANSWER_S, **self._overrides}
        return config_from(values), sorted(recorded.keys() - known)

    @staticmethod
    def _answer(method: Method, box: BlackBox) -> Segmentation:
        call = Call(box.max_new_tokens)
        if box.asked == PROMPT:
            return method.prompt(box.frames[-1], box.prompts)
        if box.asked == HISTORY:
            return method.answer_history(box.frames, box.query, call)
        return method.answer(box.frames[-1], box.query, call)


def _positions(found: Segmentation) -> tuple[str, ...]:
    surfaces = [region.surface for region in found.regions if region.surface is not None]
    return tuple(
        "at ({:.3f}, {:.3f}, {:.3f}) m in ".format(*surface.centroid_m) + surface.frame_id
        if surface.box is not None
        else f"no position: {surface.error}"
        for surface in surfaces
    )

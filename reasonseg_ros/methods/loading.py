"""Loads the configured method with its models."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from reasonseg_ros.config import METHODS, Config
from reasonseg_ros.engine.port import Report
from reasonseg_ros.methods.confident import with_confidence
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.settings import check_settings, naming_parameters
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.settings import Settings


class Listed(Method, Protocol):
    """A method of `config.METHODS`."""

    @classmethod
    def build(cls, reasoner: Reasoner, segmenter: Segmenter, settings: Settings) -> Method:
        """The method with loaded models. Raises ConfigError or ModelError."""
        ...


def load_method(config: Config | Settings, report: Report | None = None) -> Method:
    """The method `config.method`. It reads `Settings` at each answer, so later changes apply.

    `report` receives the progress of slow steps, such as building engines.

    Raises ConfigError or ModelError, with the parameter's name, if a setting cannot be used, and ModelError if a
    checkpoint is damaged.
    """
    settings = Settings.of(config)
    config = settings.now
    check_settings(config)
    # The segmenter first, so that its engines are built while memory is free; CPU and GPU of a Jetson share it.
    with naming_parameters("segmenter"):
        segmenter = KeptFeatures(load_segmenter(config.segmenter, report), config.segmenter.kept_frames)
    with naming_parameters("reasoner"):
        reasoner = load_reasoner(config.reasoner)
    return with_confidence(method_class(config.method).build(reasoner, segmenter, settings), settings)


def method_class(name: str) -> type[Listed]:
    """The class of the method `name` of `config.METHODS`."""
    found: type[Listed] = getattr(import_module(f"reasonseg_ros.methods.{name}"), METHODS[name])
    return found

"""The node's ROS parameters, generated from the settings in `reasonseg_ros.config`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from reasonseg_ros.config import Config, check_names, config_from, settings
from reasonseg_ros.config.parameter_file import check_unambiguous
from reasonseg_ros.config.setting import check
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.files.bounded import read_text
from reasonseg_ros.files.strict_yaml import parse_yaml

OF_RCLPY = (
    "use_sim_time",
    "start_type_description_service",
    "qos_overrides./clock.",
    "qos_overrides./parameter_events.",
)
"""Parameters of every node; rclpy declares some of them only when they are needed."""
READ_AT_START = ("autostart", "diagnostics_period_s")
"""Read once when the process starts, so ROS itself keeps them read-only.

The other settings marked read_only are fixed while the node is configured. They can be set while it is unconfigured, so
that a wrong model folder can be corrected and the node configured again without a new process.
"""


def declare(node: Node) -> None:
    """Declare every setting with its default, description and bounds.

    Raises ConfigError if an unknown parameter was given in a file or with `-p`.
    """
    for name, item, default in settings():
        node.declare_parameter(name, default, _descriptor(name, item))
    given = (name for name in node._parameter_overrides if not node.has_parameter(name))
    check_names(name for name in given if not name.startswith(OF_RCLPY))


def is_given(node: Node) -> bool:
    """Whether any setting was given in a file or with `-p`."""
    return any(not name.startswith(OF_RCLPY) for name in node._parameter_overrides)


def check_files(arguments: Sequence[str]) -> None:
    """Raises ConfigError for a missing or invalid parameter file among a node's arguments. The errors of ROS name only
    its source files and line numbers.
    """
    names = {"reasonseg", *(one.partition(":=")[2] for one in arguments if one.startswith("__node:="))}
    for flag, path in pairwise(arguments):
        if flag == "--params-file":
            _check_file(path)
            check_unambiguous(Path(path), names)


def _check_file(path: str) -> None:
    try:
        content = parse_yaml(read_text(Path(path)))
    except OSError as error:
        raise ConfigError(f"parameter file {path!r} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"parameter file {path!r} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all("ros__parameters" in str(section) for section in content.values()):
        raise ConfigError(f"parameter file {path!r}: expected `/**:`, below it `ros__parameters:`, below it the values")


def read(node: Node) -> Config:
    """The settings of the current parameters. Raises ConfigError."""
    return config_from({name: node.get_parameter(name).value for name, _, _ in settings()})


def changed(config: Config, parameters: Sequence[Parameter], configured: bool) -> Config:
    """`config` with the given parameters set. Raises ConfigError if a value is not allowed, or cannot be set now."""
    values = {name: value for name, _, value in settings(config)}
    items = {name: item for name, item, _ in settings()}
    for parameter in parameters:
        item = items.get(parameter.name)
        if item is None:
            continue  # rclpy's own, for example use_sim_time
        if configured and item.metadata["read_only"]:
            raise ConfigError(f"{parameter.name} is fixed while the node is configured; deactivate and clean up first")
        values[parameter.name] = check(parameter.name, item, parameter.value)
    after = config_from(values)
    if configured:  # before, the method checks it when it is loaded
        from reasonseg_ros.methods.confident import check_threshold

        check_threshold(after)
    return after


def refusal(error: ConfigError) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=str(error))


def _descriptor(name: str, item: Any) -> ParameterDescriptor:
    limits = item.metadata
    descriptor = ParameterDescriptor(description=limits["description"], read_only=name in READ_AT_START)
    constraints = []
    if limits["choices"]:
        constraints.append(f"one of {', '.join(limits['choices'])}")
    if limits["read_only"] and name not in READ_AT_START:
        constraints.append("read-only while the node is configured")
    descriptor.additional_constraints = "; ".join(constraints)
    if limits["minimum"] is not None and isinstance(item.default, float):
        span = FloatingPointRange(from_value=float(limits["minimum"]), to_value=float(limits["maximum"]))
        descriptor.floating_point_range = [span]
    elif limits["minimum"] is not None:
        span = IntegerRange(from_value=int(limits["minimum"]), to_value=int(limits["maximum"]), step=1)
        descriptor.integer_range = [span]
    return descriptor

"""The node's ROS parameters, generated from the settings in `reasonseg_ros.config`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from reasonseg_ros.config import Config, check, config_from, settings
from reasonseg_ros.errors import ConfigError

READ_AT_START = ("autostart", "diagnostics_period_s")
"""Read once when the process starts, so ROS itself keeps them read-only.

The other settings marked read_only are fixed while the node is configured. They stay open while it is not, so that a
wrong model folder can be put right and the node configured again without a new process.
"""


def declare(node: Node) -> None:
    """Declare every setting with its default, description and bounds."""
    for name, item, default in settings():
        node.declare_parameter(name, default, _descriptor(name, item))


def read(node: Node) -> Config:
    """The settings as the parameters have them now. Raises ConfigError."""
    return config_from({name: node.get_parameter(name).value for name, _, _ in settings()})


def changed(config: Config, parameters: Sequence[Parameter], configured: bool) -> Config:
    """`config` with the given parameters set. Raises ConfigError where one may not be set so, or not now."""
    values = {name: value for name, _, value in settings(config)}
    items = {name: item for name, item, _ in settings()}
    for parameter in parameters:
        item = items.get(parameter.name)
        if item is None:
            continue  # rclpy's own, for example use_sim_time
        if configured and item.metadata["read_only"]:
            raise ConfigError(f"{parameter.name} is fixed while the node is configured; deactivate and clean up first")
        values[parameter.name] = check(parameter.name, item, parameter.value)
    return config_from(values)


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

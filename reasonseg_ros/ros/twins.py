"""Nodes with the same name: ROS starts them silently, and each answers every question."""

from __future__ import annotations

from rclpy.node import Node

REMEDY = "stop one, or give it another name (`-r __node:=NAME`) or namespace (`-r __ns:=/NAME`)"


def count_named(node: Node, full_name: str) -> int:
    """The number of nodes with that full name known to `node`. A killed one still counts for some seconds."""
    found = node.get_node_names_and_namespaces()
    return sum(f"{namespace.rstrip('/')}/{name}" == full_name for name, namespace in found)

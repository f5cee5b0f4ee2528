"""Nodes of one name: ROS starts them without a word, and each answers every question."""

from __future__ import annotations

from rclpy.node import Node

REMEDY = "stop one, or give it another name (`-r __node:=NAME`) or namespace (`-r __ns:=/NAME`)"


def count_named(node: Node, full_name: str) -> int:
    """How many nodes of that full name are known to `node`. One that was killed counts for some seconds more."""
    found = node.get_node_names_and_namespaces()
    return sum(f"{namespace.rstrip('/')}/{name}" == full_name for name, namespace in found)

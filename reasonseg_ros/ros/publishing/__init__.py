"""From an outcome to what the node publishes: answers in space, messages, overlays, markers and point clouds."""

"""The node for hours on footage, tabletop videos and faults: every question must end, and memory must stay flat."""

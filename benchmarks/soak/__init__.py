"""The node for hours on footage, tabletop videos and faults: every question ends, and memory is flat."""

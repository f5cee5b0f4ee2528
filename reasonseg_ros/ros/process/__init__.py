"""The process of the node: its signals, its memory, and how its executor serves it."""

"""Faults on purpose: one port of a running program fails or hangs at its Nth call. For tests, and off by default."""

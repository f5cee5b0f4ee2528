"""Fault injection for tests: the Nth call of a port fails or hangs in a running program. Off by default."""

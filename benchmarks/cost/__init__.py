"""How cost grows with what is asked of the system: curves for docs/performance.md."""

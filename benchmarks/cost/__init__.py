"""How cost grows with the load: curves for docs/performance.md."""

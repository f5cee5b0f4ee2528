"""Comparisons with what a user would run instead: `make bench`, `make bench-gpu`. Results are in `results/`."""

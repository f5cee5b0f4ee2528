"""Side by side with what a user would run otherwise: `make bench`, `make bench-gpu`. Results lie in `results/`."""

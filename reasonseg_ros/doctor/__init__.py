"""Self-checks of a machine: what is there, what does not work, and the remedy."""

"""Self-checks of a machine: what is installed, what does not work, and the remedy."""

"""The rows of the performance table and their baselines."""

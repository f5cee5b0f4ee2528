"""The rows of the performance table and what they are compared with."""

"""Scores, failure types, and summaries of them."""

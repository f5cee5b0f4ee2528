"""Scores, failure types and what follows from them."""

"""Verbs that score and compare without running a model."""

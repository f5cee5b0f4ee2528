"""Parses texts of models to answers: pure functions for each published format."""

from reasonseg_ros.reasoner.dialects.parsing import parse_answer

__all__ = ["parse_answer"]

"""A checkpoint in this process, through transformers and torch."""

from reasonseg_ros.reasoner.local.reasoner import LocalReasoner

__all__ = ["LocalReasoner"]

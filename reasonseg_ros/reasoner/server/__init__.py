"""A reasoner behind an OpenAI-compatible server, asked through a bounded client."""

from reasonseg_ros.reasoner.server.reasoner import ServerReasoner

__all__ = ["ServerReasoner"]

"""Rendered scenes and videos on disk."""

"""Serves a running node as tools for language-model agents, over the Model Context Protocol (MCP)."""

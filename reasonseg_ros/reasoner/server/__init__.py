"""A reasoner behind an OpenAI-compatible server, asked through a bounded client."""

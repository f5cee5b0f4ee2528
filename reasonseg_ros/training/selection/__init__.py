"""Training of LLM-Seg's selection on rendered scenes."""

"""LLM-Seg's selection: chooses the proposed masks that answer a question."""

"""LLM-Seg's selection: which of the proposed masks a question means."""

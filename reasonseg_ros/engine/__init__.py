"""Exported graphs of the segmenter: what an export folder holds, and what runs it."""

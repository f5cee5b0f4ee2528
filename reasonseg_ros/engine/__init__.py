"""Exported graphs of the segmenter: the export folder, and the runtimes for it."""

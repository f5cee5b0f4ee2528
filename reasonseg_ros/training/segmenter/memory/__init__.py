"""Training of the embedded segmenter's memory."""

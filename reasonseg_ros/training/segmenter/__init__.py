"""Training of the embedded segmenter."""

"""A copy of the embedded segmenter's decoder, trained on single points for everything mode."""

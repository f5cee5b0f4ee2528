"""Camera topics, calibration, depth and transforms on their way into a frame."""

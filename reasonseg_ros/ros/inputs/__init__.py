"""Camera topics, calibration, depth and transforms, combined to frames."""

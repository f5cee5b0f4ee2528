"""Masks in space: lenses, calibrations, and the points and boxes under a mask."""

"""Reads the questions of bags with their images and ground truth."""

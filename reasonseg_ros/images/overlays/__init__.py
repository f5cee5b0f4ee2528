"""Drawings on images: outlined masks, captions, numbers and text."""

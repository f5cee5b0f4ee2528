"""The questions of bags with their images and truths."""

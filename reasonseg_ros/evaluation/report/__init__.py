"""HTML pages of one run and of two."""

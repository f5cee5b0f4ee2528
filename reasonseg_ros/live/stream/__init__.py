"""Images as they arrive: the newest one, the last seconds, their stamps, and whether the picture changed."""

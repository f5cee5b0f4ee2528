"""Training of the embedded reasoner."""

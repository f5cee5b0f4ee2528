"""Black boxes: recordings of answers with everything they depend on, so that they can be repeated on any machine."""

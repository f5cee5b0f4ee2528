"""Black boxes: answers of a robot with everything they depend on, recorded, and answered again anywhere."""

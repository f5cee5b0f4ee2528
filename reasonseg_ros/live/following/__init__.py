"""From the image of an answer to later images: propagation, the choice of its steps, optical flow and tracking."""

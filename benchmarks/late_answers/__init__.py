"""How well a late answer's masks fit the frame that they are published with."""

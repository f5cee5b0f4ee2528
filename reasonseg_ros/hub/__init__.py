"""Checkpoints on this machine and on the Hugging Face hub: where they are, what they need, fetching them."""

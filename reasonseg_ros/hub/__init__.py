"""Checkpoints on this machine and on the Hugging Face hub: finding, sizing, fetching and checking them."""

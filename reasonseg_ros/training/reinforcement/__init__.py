"""Learning from rewards: GRPO on the embedded reasoner and on published checkpoints."""

"""Training on rows: GRPO and supervised, of the embedded reasoner and of published checkpoints."""

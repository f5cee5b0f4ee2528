"""Whether the embedded reasoner learns more from answers (SFT) or from rewards (GRPO)."""

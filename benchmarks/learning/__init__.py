"""Which way of learning helps the embedded reasoner more: from answers (SFT) or from rewards (GRPO)?"""

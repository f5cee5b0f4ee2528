"""Verbs about checkpoints: cards, exports, engines, servers, calibration, and what a model's text means."""

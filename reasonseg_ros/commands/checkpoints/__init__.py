"""Verbs about checkpoints: model cards, exports, engines, servers, calibration, and parsing of answers."""

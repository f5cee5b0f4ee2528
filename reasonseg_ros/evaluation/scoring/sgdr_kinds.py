"""Maps the tabletop's kinds of questions to the four kinds of ReasonSeg-SGDR (arXiv:2606.09303)."""

from __future__ import annotations

SGDR_KINDS = {
    "function": "discriminative",
    "attribute": "discriminative",
    "relation": "spatial",
    "comparison": "geometric",
    "multi_step": "multi_step",
}
"""Kinds that ask for several objects, for nothing or for a part have no counterpart there."""

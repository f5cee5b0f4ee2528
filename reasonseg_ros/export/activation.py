"""GELU in the form that ONNX Runtime fuses into one kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation


class Gelu(nn.Module):
    """The exact GELU, with its factors in the order that ONNX Runtime recognises.

    The exporter writes `x * (0.5 * (1 + erf))`, which is not fused: it takes five passes over the largest arrays.
    """

    def forward(self, values: Tensor) -> Tensor:
        return values * 0.5 * (torch.erf(values / math.sqrt(2)) + 1.0)


def replace_gelu(module: nn.Module) -> None:
    """Replace every exact GELU inside `module` by `Gelu`."""
    for name, child in module.named_children():
        if isinstance(child, GELUActivation) or (isinstance(child, nn.GELU) and child.approximate == "none"):
            setattr(module, name, Gelu())
        else:
            replace_gelu(child)

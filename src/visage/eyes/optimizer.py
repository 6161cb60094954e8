"""The optimizer of the eye networks: AdamW that leaves biases and norms alone, and the length of its warm-up."""

from typing import Any

import torch
from torch import nn

# Share of the steps until the rate's peak: a run of a few hundred steps has none to lose.
WARMUP = 0.1


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, ICLR 2019); only weights of more than one dimension decay."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=True)

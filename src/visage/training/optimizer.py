"""The optimizer of every network here: AdamW that leaves biases and norms alone."""

from typing import Any

import torch
from torch import nn


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, ICLR 2019) of what trains; only weights of more than one dimension decay, since
    decay would only pull biases and norms off."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    weights, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=True)

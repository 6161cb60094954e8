"""The optimizer of every network here: AdamW that leaves biases and norms alone."""

from typing import Any

import torch
from torch import nn

BETA1 = 0.9


def adamw(model: nn.Module, lr: float, weight_decay: float, beta2: float = 0.999) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, ICLR 2019) of what trains; only weights of more than one dimension decay, since
    decay would only pull biases and norms off.

    beta2: of the mean of squared gradients, which looks back over about 1 / (1 - beta2) steps.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    weights, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(BETA1, beta2), weight_decay=weight_decay, fused=True)

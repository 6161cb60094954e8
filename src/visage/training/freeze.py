"""Freezing from the input side: frozen layers take no gradient, and their batch norms stay in evaluation mode.

`model.train()` would wake frozen batch norms, whose running statistics then drift although their weights do not; the
wrapper below keeps them asleep through every call of `train()`.
"""

from collections.abc import Sequence

from torch import nn


def freeze(layers: Sequence[nn.Module]) -> None:
    """Freeze `layers` for good: no gradients, and evaluation mode whatever `train()` is called with."""
    for layer in layers:
        layer.requires_grad_(False)
        for module in layer.modules():
            module.eval()
            module.train = _stay.__get__(module)  # type: ignore[method-assign]


def _stay(self: nn.Module, mode: bool = True) -> nn.Module:
    """A `train` that leaves a frozen module in evaluation mode."""
    return self


def frozen_count(layers: int, ratio: float) -> int:
    """How many of `layers` layers a ratio in [0, 1] freezes: the nearest number, all of them only where it is 1."""
    return layers if ratio == 1 else min(layers - 1, int(layers * ratio + 0.5))


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(all, trainable) numbers of parameters."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)

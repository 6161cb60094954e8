"""Where an inpainter's memory goes: an estimate for each part, printed before training.

Weights, gradients and the optimizer's moments are counted from the network, which may be on the meta device; what a
step keeps comes from the dry step of the memory budget.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from visage.runtime import Runtime
from visage.training.memory import Budget

GB = 1 << 30
MOMENTS = {"adamw": 8, "adamw8bit": 2}  # bytes for each number that trains: two of float32, or of 8 bits


def weights_of(module: nn.Module, trained_only: bool = False) -> int:
    """Bytes of a module's weights; of those that train alone with `trained_only`."""
    return sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad or not trained_only)


def components(
    network: nn.Module, vae: nn.Module | None, optimizer: str, *, averaged: bool, activations: float
) -> dict[str, float]:
    """GB of each part. network: with `requires_grad` set as it trains. vae: the decoder of consistency losses, or None.
    averaged: whether a second set of the trained weights is kept. activations: GB of a step."""
    trained = weights_of(network, trained_only=True)
    count = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return {
        "weights": weights_of(network) / GB,
        "gradients": trained / GB,
        "optimizer": MOMENTS[optimizer] * count / GB,
        "average (EMA)": trained / GB if averaged else 0.0,
        "autoencoder": weights_of(vae) / GB if vae is not None else 0.0,
        "activations": activations,
    }


def footprint(task: Any, budget: Budget, micro_batch: int, runtime: Runtime) -> dict[str, float]:
    """The parts of `task` (an InpainterTask) at `micro_batch` pictures a process, GB."""
    vae = task.consistent.vae if task.consistent else None
    activations = budget.per_sample * micro_batch / 1024
    return components(
        task.model.network, vae, task.settings.optimizer, averaged=task.settings.ema > 0, activations=activations
    )


def format_footprint(parts: Mapping[str, float], runtime: Runtime) -> str:
    """A table for the terminal."""
    lines = [f"  {name:14} {size:8.3f} GB" for name, size in parts.items()]
    total = sum(parts.values())
    return "\n".join(
        ["memory of a process, estimated:", *lines, f"  {'in all':14} {total:8.3f} GB of {runtime.memory_gb:g}"]
    )

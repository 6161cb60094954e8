"""Learning-rate schedules by name, with one interface whether they move per step or per epoch.

torch's own schedulers do the work; what is added is the knowledge of when each wants to be called, so that the loop has
no branch for it, and a state that `weights_only=True` can load.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau


class Schedule:
    """A learning rate that stays as it is; the others override what they need."""

    def after_step(self) -> None:
        """Called after each optimizer step."""

    def after_epoch(self, valid_loss: float) -> None:
        """Called after each epoch with the mean validation loss."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""


class Plateau(Schedule):
    """Multiply the rate by `factor` after `patience` epochs without a lower validation loss (ReduceLROnPlateau)."""

    def __init__(self, optimizer: torch.optim.Optimizer, factor: float, patience: float, min_lr: float) -> None:
        self.inner = ReduceLROnPlateau(optimizer, factor=factor, patience=int(patience), min_lr=min_lr)

    def after_epoch(self, valid_loss: float) -> None:
        self.inner.step(valid_loss)

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inner.load_state_dict(state)


class OneCycle(Schedule):
    """Warm up to the optimizer's rate, then anneal by cosine (Smith and Topin 2018; OneCycleLR)."""

    def __init__(self, optimizer: torch.optim.Optimizer, total_steps: int, warmup: float = 0.25) -> None:
        peaks = [group["lr"] for group in optimizer.param_groups]
        # OneCycleLR divides by the length of the warm-up less one step, which a handful of steps makes zero.
        share = min(0.9, max(warmup, 1.5 / total_steps))
        self.inner: LRScheduler = OneCycleLR(optimizer, peaks, total_steps=total_steps, pct_start=share)

    def after_step(self) -> None:
        self.inner.step()

    def state_dict(self) -> dict[str, Any]:
        # The annealing function is in there too, and no safe loader takes a function.
        return {key: value for key, value in self.inner.state_dict().items() if isinstance(value, int | float | list)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.inner.load_state_dict(state)


def make_schedule(
    name: str, optimizer: torch.optim.Optimizer, total_steps: int, options: Mapping[str, float] | None
) -> Schedule:
    """The schedule called `name` ("constant", "plateau", "onecycle") for `total_steps` optimizer steps."""
    settings = dict(options or {})
    if name == "plateau":
        return Plateau(optimizer, **settings)
    if name == "onecycle":
        return OneCycle(optimizer, total_steps, **settings)
    assert name == "constant", name
    return Schedule()

"""What the loop needs to know of a domain: a model, two datasets, and a loss with its statistics.

A task is made inside each training process by a picklable factory, so that a process that was spawned on another
machine or after a crash builds the same thing; nothing is handed over but parameters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from visage.training.plan import Key


class Samples(Protocol):
    """A dataset for the loop: `samples[(epoch, index)]` is a tuple of arrays or numbers to collate."""

    def __len__(self) -> int: ...

    def resident_bytes(self) -> int:
        """Memory that the dataset itself comes to hold in each process that reads it."""
        ...

    def __getitem__(self, key: Key) -> Any: ...


class Task(Protocol):
    """One training problem.

    `loss(model, batch, train)` returns the mean loss over the batch's samples (a scalar with a graph) and a mapping of
    detached sums over those samples (such as the number classified right), from which `report` makes metrics.
    """

    @property
    def model(self) -> nn.Module: ...

    @property
    def train_samples(self) -> Samples: ...

    @property
    def valid_samples(self) -> Samples: ...

    def optimizer(self) -> torch.optim.Optimizer: ...

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]: ...

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]: ...


@runtime_checkable
class EpochAware(Protocol):
    """A task whose loss depends on the epoch: it is told at the start of each, and again when a run continues in it."""

    def begin_epoch(self, epoch: int) -> None:
        """`epoch` (from 0) is the one whose training and validation losses come next."""
        ...


TaskFactory = Callable[[], Task]


@dataclass(frozen=True)
class Settings:
    """How long and in what portions to train; sizes are samples, `micro_batch` is what is in memory at once per step.

    monitor: name of the validation metric that picks the best epoch, `mode` "max" or "min". patience: epochs without a
    better one before stopping (0: never). schedule: "constant", "plateau" or "onecycle" with `schedule_options`.
    save_steps: steps between resume states. Of every `keep_every`-th epoch and of the last `keep_improvements` that
    were better than all before them the state is kept. compile: torch compiles the model with autotuning, on a GPU that
    need not repeat exactly.
    """

    epochs: int
    batch_size: int
    micro_batch: int
    seed: int
    monitor: str
    mode: str = "max"
    patience: int = 0
    schedule: str = "constant"
    schedule_options: Mapping[str, float] | None = None
    clip_norm: float = 0.0
    save_steps: int = 100
    keep_every: int = 0
    keep_improvements: int = 0
    compile: bool = False


def as_dataset(samples: Samples) -> Dataset[Any]:
    """`samples` under the type that torch's DataLoader names (it asks only for indexing)."""
    return samples  # type: ignore[return-value]

"""A toy problem for the training loop, and a program that trains it (run by tests that kill it)."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.runtime import Runtime, tune
from visage.training.fit import Fitted, fit
from visage.training.task import Settings


class ToySamples:
    """Noise with a brightness to tell; the noise depends on the epoch, as an augmentation's would."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self.labels = rng.integers(0, 2, count)
        self.images = (
            rng.normal(size=(count, 3, 8, 8)).astype(np.float32)
            + self.labels[:, None, None, None].astype(np.float32) * 0.5
        )

    def __len__(self) -> int:
        return len(self.labels)

    def resident_bytes(self) -> int:
        return self.images.nbytes

    def __getitem__(self, key: tuple[int, int]) -> tuple[np.ndarray, int]:
        noise = np.random.default_rng(key).normal(size=(3, 8, 8)).astype(np.float32)
        return self.images[key[1]] + np.float32(0.1) * noise, int(self.labels[key[1]])


class ToyTask:
    """A small convolutional network with batch norm and, if asked for, dropout."""

    def __init__(self, count: int = 101, norm: bool = True, dropout: float = 0.2, lr: float = 1e-3) -> None:
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8) if norm else nn.Identity(), nn.ReLU(), nn.Flatten()]
        self.model: nn.Module = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(288, 2))
        self.lr = lr
        self.train_samples, self.valid_samples = ToySamples(count), ToySamples(33)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), self.lr)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        logits = model(batch[0])
        return functional.cross_entropy(logits, batch[1]), {"right": (logits.argmax(1) == batch[1]).sum()}

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        return {"accuracy": sums["right"] / count}


def toy_runtime(processes: int = 1, loaders: int = 0, threads: int = 1, max_minutes: float = 0.0) -> Runtime:
    return Runtime("cpu", processes, threads, loaders, "fp32", "contiguous", True, 4.0, max_minutes)


def toy_settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {"epochs": 4, "batch_size": 16, "micro_batch": 16, "seed": 1, "monitor": "accuracy"}
    values |= {"schedule": "onecycle", "save_steps": 2}
    return Settings(**(values | changes))


def train_toy(state: Path, task: Any = ToyTask, runtime: Runtime | None = None, **changes: Any) -> Fitted:
    state.mkdir(parents=True, exist_ok=True)
    return fit(task, toy_settings(**changes), runtime or toy_runtime(), state)


if __name__ == "__main__":
    runtime = toy_runtime(processes=int(sys.argv[2]), threads=int(sys.argv[3]))
    tune(runtime)
    train_toy(Path(sys.argv[1]), partial(ToyTask, count=400), runtime, epochs=6)

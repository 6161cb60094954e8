"""The heads' training problem: cached features in batches, and one design's classifier on them.

Mixup and noise happen in the loss and not in the samples: there torch's generator has just been seeded by the loop for
this very step, so a killed run repeats them to the bit, and on a GPU they are made where the features already are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.errors import DataError
from visage.faces.config import HeadDesign, Heads
from visage.faces.head_model import Head, read_features
from visage.features.table import FeatureTable
from visage.training.optimizer import adamw
from visage.training.plan import Key


class FeatureSamples:
    """Rows of cached features with their classes: gives (D float32, int64), and whole batches at once."""

    def __init__(self, table: FeatureTable, rows: np.ndarray, labels: Sequence[int]) -> None:
        self.table, self.rows = table, rows
        self.labels = torch.tensor(labels, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def resident_bytes(self) -> int:
        """Nothing: the file is mapped, and its pages are the system's."""
        return 0

    def __getitems__(self, keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """The samples at `keys` collated, (N x D float32, N int64), in the order of the file, so that it is read on."""
        indices = np.sort(np.fromiter((index for _, index in keys), np.intp, len(keys)))
        return read_features(self.table, self.rows[indices]), self.labels[torch.from_numpy(indices)]

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        features, labels = self.__getitems__([key])
        return features[0], labels[0]


def training_samples(table: FeatureTable, classes: Sequence[str]) -> tuple[FeatureSamples, FeatureSamples]:
    """The training and the validation samples, the first standing in for empty second ones.

    Raises:
        DataError: there is nothing to train on, or a row's class is none of `classes`.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    unknown = sorted({row["class"] for row in table.rows} - numbers.keys())
    if unknown:
        raise DataError(f"the features have class {unknown[0]!r}, the prepared faces not: run extract_features again")
    train, valid = (
        FeatureSamples(table, rows, [numbers[table.rows[row]["class"]] for row in rows])
        for rows in (table.split("train"), table.split("val"))
    )
    if not len(train):
        raise DataError("the features have no training rows: run prepare_faces and extract_features again")
    return train, valid if len(valid) else train


class HeadTask:
    """A head by cross-entropy; statistics are right answers, in training for the larger part of mixed features."""

    def __init__(
        self, settings: Heads, design: HeadDesign, classes: int, train: FeatureSamples, valid: FeatureSamples
    ) -> None:
        self.settings = settings
        self.model = Head(train.table.features.shape[1], design.hidden, classes, design.dropout)
        self.train_samples, self.valid_samples = train, valid
        # float64: a small alpha gives numbers that float32 rounds to 0, and halves of 0 / 0.
        alpha = torch.tensor(settings.mixup, dtype=torch.float64)
        self.share = torch.distributions.Beta(alpha, alpha) if settings.mixup else None

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        return adamw(self.model, self.settings.lr, self.settings.weight_decay)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean cross-entropy, and how many were right."""
        features, labels = batch
        share, others = 1.0, labels
        if train and self.settings.noise:
            features = torch.randn_like(features).mul_(self.settings.noise).add_(features)
        if train and self.share is not None:
            share = float(self.share.sample())
            share = max(share, 1 - share)
            order = torch.randperm(len(labels), device=labels.device)
            features, others = torch.lerp(features[order], features, share), labels[order]
        logits = model(features)
        loss = functional.cross_entropy(logits, labels)
        if share < 1:
            loss = share * loss + (1 - share) * functional.cross_entropy(logits, others)
        return loss, {"right": (logits.argmax(1) == labels).sum()}

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """Accuracy."""
        return {"accuracy": sums["right"] / count}

"""The texture encoder's training problem: curl, volume, and hair of one kind near each other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.inpaint.config import Texture
from visage.inpaint.prompt import CURLS, MISSING, VOLUMES
from visage.inpaint.record import Row, read_metadata
from visage.inpaint.supcon import supcon
from visage.inpaint.texture_data import TextureSamples
from visage.inpaint.texture_net import TextureNetwork, backbone_name, load_backbone
from visage.training.optimizer import adamw
from visage.training.rows import training_rows

HEADS = {"curl": CURLS, "volume": VOLUMES}


class TextureTask:
    """Cross-entropy of curl and of volume, and SupCon over both, on the pictures that prepare_inpaint wrote."""

    def __init__(self, settings: Texture, data: Path, encoder: Path, seed: int) -> None:
        rows = read_metadata(data)
        train, valid = training_rows(
            lambda split: np.flatnonzero([row.split == split for row in rows]), "pictures", "inpaint.prepare.train"
        )
        self.settings = settings
        self.train_rows = [rows[index] for index in train]
        self.backbone = backbone_name(settings.arch, encoder)
        self.model = TextureNetwork(self.backbone, settings.projection, settings.dropout)
        load_backbone(self.model, settings.arch, settings.weights, settings.weights_file, encoder)
        self.train_samples = TextureSamples(
            data, self.train_rows, settings.size, settings.part, seed, balanced=settings.steps * settings.batch_size
        )
        self.valid_samples = TextureSamples(data, [rows[index] for index in valid], settings.size, settings.part, seed)
        self.weights = {name: class_weights(self.train_rows, name) for name in HEADS}

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        return adamw(self.model, self.settings.lr, self.settings.weight_decay)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The whole loss, and sums: its parts (times the pictures), and pictures with a label and those told right.

        A picture is told by the sum of its views' logits.
        """
        views, *targets = batch
        pictures, count = views.shape[:2]
        found = model(views.flatten(0, 1))
        projections = found.projection.float().unflatten(0, (pictures, count))
        logits = {"curl": found.curl.float(), "volume": found.volume.float()}
        labels = dict(zip(HEADS, targets, strict=True))
        near = torch.stack([supcon(projections, labels[name], self.settings.temperature) for name in HEADS]).mean()
        loss = self.settings.supcon * near
        sums = {"supcon": near.detach() * pictures}
        for name, label in labels.items():
            weight = self.weights[name].to(views.device)
            entropy = named_entropy(logits[name], label.repeat_interleave(count), weight)
            loss = loss + entropy
            told = logits[name].detach().unflatten(0, (pictures, count)).sum(1).argmax(1)
            there = label != MISSING
            sums |= {
                f"{name}_ce": entropy.detach() * pictures,
                f"{name}_right": ((told == label) & there).sum(),
                f"{name}_known": there.sum(),
            }
        return loss, sums

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """Accuracies of curl and volume and their mean, and the three parts of the loss."""
        accuracies = {f"{name}_accuracy": sums[f"{name}_right"] / max(sums[f"{name}_known"], 1) for name in HEADS}
        parts = {name: sums[name] / count for name in ("supcon", "curl_ce", "volume_ce")}
        return {**accuracies, "accuracy": sum(accuracies.values()) / len(accuracies), **parts}


def class_weights(rows: list[Row], name: str) -> Tensor:
    """Weights of the classes of "curl" or "volume", inverse to how often `rows` have them, 1 on average; a class that
    they do not have has 0."""
    counts = np.bincount(
        [getattr(row, name) for row in rows if getattr(row, name) != MISSING], minlength=len(HEADS[name])
    )
    inverse = np.where(counts > 0, 1 / np.maximum(counts, 1), 0)
    return torch.tensor(inverse / max(inverse.sum(), 1e-12) * max(np.count_nonzero(counts), 1), dtype=torch.float32)


def named_entropy(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of those that have a label, weighted by class; 0, with a gradient, where none has."""
    if not bool((labels != MISSING).any()):
        return logits.sum() * 0
    return functional.cross_entropy(logits, labels, weight=weight, ignore_index=MISSING)

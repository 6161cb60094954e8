"""The pupil's training problem: a segmenter, its samples, the combined loss and the sums that scores are made of.

IoU is the ratio of summed pixels, not a mean over pictures, where one small pupil would count as much as ten large
ones; the mean over pictures is kept beside it, because it is what a user sees of single frames.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visage.eyes import losses
from visage.eyes.config import Pupil
from visage.eyes.data import FRAMES, PupilSamples
from visage.eyes.networks import KINDS, at_size
from visage.eyes.prepared import LARGEST_WEIGHT, load_set
from visage.eyes.progressive import epoch_sizes, shrink
from visage.training.optimizer import adamw
from visage.training.rows import training_rows


class PupilTask:
    """Segmentation of the pupil on the prepared eyes in folder `data`."""

    def __init__(self, settings: Pupil, data: Path, seed: int) -> None:
        self.settings = settings
        self.eyes = load_set(data)
        self.model = at_size(KINDS[settings.variant].build(), self.eyes.height, self.eyes.width)
        train, valid = training_rows(self.eyes.split, *FRAMES)
        self.train_samples = PupilSamples(self.eyes, train, settings.augment, seed)
        self.valid_samples = PupilSamples(self.eyes, valid)
        full = self.eyes.height, self.eyes.width
        self.sizes = epoch_sizes(full, settings.progressive, settings.epochs)
        # Until an epoch begins the largest: the memory budget is measured before.
        self.epoch, self.size = 0, full

    def begin_epoch(self, epoch: int) -> None:
        """The weights of the loss and the size of training frames depend on the epoch."""
        self.epoch, self.size = epoch, self.sizes[epoch]

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        return adamw(self.model, self.settings.lr, self.settings.weight_decay)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The combined loss, and sums: its components, pixels common to and in either of answer and truth."""
        images, labels, weights, distance = shrink(batch, self.size) if train else batch
        score, truth = losses.pupil_score(model(images)), labels.float()
        pupil = torch.sigmoid(score)
        ce = losses.cross_entropy(score, truth, weights.float() * (LARGEST_WEIGHT / 255))
        dice = losses.generalised_dice(pupil, truth)
        edge = losses.surface(pupil, distance, self.settings.surface, self.settings.surface_clip)
        loss = losses.combined(ce, dice, edge, self.epoch, self.settings).mean()
        return loss, {
            "ce_loss": ce.detach().sum(),
            "dice_loss": dice.detach().sum(),
            "surface_loss": edge.detach().sum(),
            "pixels": torch.tensor(labels.numel(), device=labels.device),
            **overlap(score.detach() > 0, labels > 0),
        }

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """Mean IoU of background and pupil, the pupil's (of all pixels, and the mean over pictures), the components."""
        pixels = sums["pixels"]
        pupil = sums["common"] / max(sums["either"], 1)
        background = (pixels - sums["either"]) / max(pixels - sums["common"], 1)
        components = {name: sums[name] / count for name in ("ce_loss", "dice_loss", "surface_loss")}
        mean_iou = sums["picture_iou"] / max(sums["open"], 1)
        return {"iou": (pupil + background) / 2, "pupil_iou": pupil, "picture_iou": mean_iou, **components}


def overlap(answer: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Sums over masks (B, H, W) of bool: pixels in both ("common") and in "either", and of the open eyes their number
    ("open") and the sum of their IoU ("picture_iou")."""
    common, either = (answer & truth).sum((1, 2)), (answer | truth).sum((1, 2))
    open_eyes = truth.any(2).any(1)
    each = torch.where(open_eyes, common / either.clamp(min=1), 0)
    return {"common": common.sum(), "either": either.sum(), "open": open_eyes.sum(), "picture_iou": each.sum()}

"""The hair segmenter's training problem: a network, its samples, the combined loss and the sums of scores.

IoU and F1 are ratios of summed pixels, not means over pictures, where a shaved head would count as much as long hair;
the mean over pictures that have hair is kept beside them, because it is what a user sees of single pictures.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visage.features.pyramid import hair_score
from visage.hair import losses
from visage.hair.bisenet import SegmenterOutput
from visage.hair.config import Segmenter
from visage.hair.data import PICTURES, HairSamples
from visage.hair.networks import build
from visage.hair.prepared import load_set
from visage.training.freeze import freeze
from visage.training.optimizer import adamw
from visage.training.rows import training_rows

COMPONENTS = ("ce_loss", "dice_loss", "edge_loss")


class SegmenterTask:
    """Segmentation of hair on the prepared pictures in folder `data`, from the pretrained encoder in `encoder`.

    weights: a file of ResNet-18's weights, for the network that has it as its context.
    """

    def __init__(self, settings: Segmenter, data: Path, encoder: Path, seed: int, weights: Path | None = None) -> None:
        self.settings = settings
        self.pictures = load_set(data)
        self.model = build(settings.arch, encoder, weights)
        if settings.freeze:
            freeze([self.model.get_submodule("context")])
        train, valid = training_rows(self.pictures.split, *PICTURES)
        portion = pictures_per_epoch(settings, len(train))
        self.train_samples = HairSamples(self.pictures, train, settings.augment, seed, portion)
        self.valid_samples = HairSamples(self.pictures, valid)
        self.forecast = Forecast(settings, len(self.train_samples))

    def begin_epoch(self, epoch: int) -> None:
        """After the first epoch there is something to foretell the rest from."""
        self.forecast.begin_epoch(epoch)

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        return adamw(self.model, self.settings.lr, self.settings.weight_decay)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The combined loss, and sums: its components, pixels common to and in answer and truth, alpha's error."""
        images, alphas, near = batch
        output = model(images)
        if not isinstance(output, SegmenterOutput):
            output = SegmenterOutput(output, ())
        score, truth = hair_score(output.logits), alphas.float() / 255
        hair, band = torch.sigmoid(score), near.float()
        each = losses.cross_entropy(score, truth)
        ce, dice = losses.emphasised(each, band, self.settings.boundary), losses.soft_dice(hair, truth)
        side = losses.side_loss(output, truth, band)
        if train:
            self.forecast.seen += len(images)
        return (ce + dice + losses.SIDE * side).mean(), {
            "ce_loss": ce.detach().sum(),
            "dice_loss": dice.detach().sum(),
            "edge_loss": losses.within(each.detach(), band).sum(),
            "side_loss": side.detach().sum(),
            "alpha_error": (hair.detach() - truth).abs().mean((1, 2)).sum(),
            **overlap(score.detach() > 0, alphas >= 128),
        }

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """IoU and F1 of all pixels, the mean IoU over pictures with hair, alpha's mean error, the components."""
        either = sums["answer"] + sums["truth"] - sums["common"]
        # The heads beside the last one are there in training alone.
        names = (*COMPONENTS, "side_loss") if sums["side_loss"] else COMPONENTS
        return {
            "iou": sums["common"] / max(either, 1),
            "f1": 2 * sums["common"] / max(sums["answer"] + sums["truth"], 1),
            "picture_iou": sums["picture_iou"] / max(sums["with_hair"], 1),
            "alpha_error": sums["alpha_error"] / count,
            **{name: sums[name] / count for name in names},
        }


class Forecast:
    """Says once, after the first whole epoch of this process, how long the rest takes and what it costs.

    Reckoned from the pictures that this process trained on and the time that they took, validation included, so that it
    holds for a run that continued in the middle of an epoch too.
    """

    def __init__(self, settings: Segmenter, pictures: int) -> None:
        self.price, self.epochs, self.pictures = settings.price_per_hour, planned_epochs(settings), pictures
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.seen, self.began, self.said = 0, 0.0, False

    def begin_epoch(self, epoch: int) -> None:
        """`epoch` (from 0) comes next."""
        if not self.began:
            self.began = time.monotonic()
            self.seen = 0
        elif not self.said and self.seen:
            self.said = True
            if os.environ.get("RANK", "0") == "0":
                print(self.line(epoch, time.monotonic() - self.began), flush=True)

    def line(self, epoch: int, seconds: float) -> str:
        """What is said where `seconds` were spent and `epoch` epochs are done."""
        left = seconds / (self.seen * self.world) * self.pictures * (self.epochs - epoch)
        cost = f", {self.price * left / 3600:.2f} at {self.price:g} an hour" if self.price else ""
        return f"estimate: {left / 60:.1f} minutes to go at most{cost}"


def planned_epochs(settings: Segmenter) -> int:
    """The epochs that a run has where nothing stops it earlier: a step each at the least."""
    return min(settings.epochs, settings.max_steps) if settings.max_steps else settings.epochs


def pictures_per_epoch(settings: Segmenter, pictures: int) -> int:
    """How many of `pictures` an epoch reads, so that all epochs together keep to `max_steps`."""
    if not settings.max_steps:
        return pictures
    return min(pictures, settings.max_steps // planned_epochs(settings) * settings.batch_size)


def overlap(answer: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Sums over masks (B, H, W) of bool: pixels in both ("common"), in "answer" and in "truth"; and of the pictures
    with hair their number ("with_hair") and the sum of their IoU ("picture_iou")."""
    common, said, true = (maps.sum((1, 2)) for maps in (answer & truth, answer, truth))
    each = torch.where(true > 0, common / (said + true - common).clamp(min=1), 0)
    return {
        "common": common.sum(),
        "answer": said.sum(),
        "truth": true.sum(),
        "with_hair": (true > 0).sum(),
        "picture_iou": each.sum(),
    }

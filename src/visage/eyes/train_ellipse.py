"""`train_ellipse`: regression of the pupil's ellipse on the prepared eyes.

Errors are reported in pixels of a whole frame, 400 x 640, whatever size it is trained at, and beside those of always
answering the training frames' mean: a network that has lost the position is no better than that.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visage.eyes.config import Ellipse
from visage.eyes.data import FRAMES, EllipseSamples
from visage.eyes.losses import ellipse_loss, vote_loss
from visage.eyes.networks import FRAME, KINDS, at_size
from visage.eyes.prepared import half_diagonal, load_set
from visage.eyes.train import Training, train
from visage.runtime import Runtime
from visage.training.measured import DECIMALS
from visage.training.optimizer import adamw
from visage.training.rows import training_rows

KIND = "ellipse"
MEASURED = ("loss", "centre_px", "radius_px", "within_5px")
# Weight of the votes' own loss.
VOTE_SHARE = 0.002
# (cx, cy, rx, ry) x this are pixels of a whole frame.
SCALE = (FRAME[1], FRAME[0], half_diagonal(*FRAME), half_diagonal(*FRAME))


class EllipseTask:
    """Regression of (cx, cy, rx, ry) on the prepared eyes in folder `data`; closed eyes have no say."""

    def __init__(self, settings: Ellipse, data: Path, seed: int) -> None:
        self.settings = settings
        self.eyes = load_set(data)
        self.model = at_size(KINDS[KIND].build(), self.eyes.height, self.eyes.width)
        train, valid = training_rows(self.eyes.split, *FRAMES)
        self.train_samples = EllipseSamples(self.eyes, train, settings.augment, seed)
        self.valid_samples = EllipseSamples(self.eyes, valid)

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        return adamw(self.model, self.settings.lr, self.settings.weight_decay)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The mean loss, and sums over open eyes: their number, errors in pixels, how many centres within 5 pixels.

        In training the votes have a small share of the loss, which is all that moves them in the beginning.
        """
        images, targets = batch
        predicted, chances = model(images) if train else (model(images), None)
        loss = ellipse_loss(predicted, targets)
        if chances is not None:
            loss = loss + VOTE_SHARE * vote_loss(chances, targets)
        there = targets.isfinite().all(1)
        away = torch.where(there[:, None], predicted.detach() - targets, 0) * targets.new_tensor(SCALE)
        centre = away[:, :2].norm(dim=1)
        return loss.mean(), {
            "open": there.sum(),
            "centre_px": centre.sum(),
            "radius_px": away[:, 2:].abs().mean(1).sum(),
            "within_5px": ((centre <= 5) & there).sum(),
        }

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """Means over open eyes of the errors of centre and radii, and the share of centres within 5 pixels."""
        return {name: sums[name] / max(sums["open"], 1) for name in ("centre_px", "radius_px", "within_5px")}


def train_ellipse(
    settings: Ellipse, runtime: Runtime, *, seed: int, data: Path, out: Path, metrics: Path, plots: Path
) -> None:
    """Train the regression; arguments, results and errors are those of `visage.eyes.train.train`."""
    eyes = load_set(data)
    guess = mean_error(*(eyes.ellipses[rows] for rows in training_rows(eyes.split, *FRAMES)))
    print(f"the mean's centre error: {guess:.1f} px")
    training = Training(
        stage="train_ellipse",
        section=KIND,
        settings=settings,
        kind=KIND,
        factory=partial(EllipseTask, settings, data, seed),
        monitor="centre_px",
        mode="min",
        label="centre",
        measured=MEASURED,
        facts={"baseline_centre_px": round(guess, DECIMALS)},
    )
    best = train(training, runtime, seed=seed, data=data, out=out, metrics=metrics, plots=plots)
    print(f"best model: epoch {best.best_epoch + 1} of {best.epoch}, centre error {best.best_value:.2f} px")


def mean_error(train: NDArray[np.float32], valid: NDArray[np.float32]) -> float:
    """The mean centre error in pixels of a whole frame of always answering the mean of `train` (N x 4, with nan)."""
    away = (valid[:, :2] - np.nanmean(train[:, :2], axis=0)) * SCALE[:2]
    return float(np.nanmean(np.hypot(*away.T)))

"""`train_ellipse`: regression of the pupil's ellipse on the prepared eyes.

Errors are reported in pixels of a whole frame, 400 x 640, whatever size it is trained at, and beside those of always
answering the training frames' mean: a network that has lost the position is no better than that.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visage.eyes.checkpoints import KEEP_EVERY, KEEP_IMPROVEMENTS, write_checkpoints
from visage.eyes.config import Ellipse
from visage.eyes.data import EllipseSamples, training_rows
from visage.eyes.losses import ellipse_loss, vote_loss
from visage.eyes.networks import FRAME, KINDS, at_size
from visage.eyes.optimizer import WARMUP, adamw
from visage.eyes.prepared import half_diagonal, load_set
from visage.eyes.train_pupil import data_hashes, write_measured
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint, memory
from visage.training.fit import fit
from visage.training.freeze import count_parameters
from visage.training.task import Settings

STAGE, KIND = "train_ellipse", "ellipse"
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
        train, valid = training_rows(self.eyes)
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
    """Train and write the checkpoints into `out`, the metrics and the curves (plots/history.csv).

    data: what prepare_eyes wrote.

    Raises:
        VisageError: what cannot be honoured, found before training begins.
        Unfinished: the time limit came first.
    """
    factory = partial(EllipseTask, settings, data, seed)
    device = torch_device(runtime, seed)
    task = factory()
    memory.check(memory.measure(task, runtime), "ellipse", settings.micro_batch, settings.batch_size, runtime)
    kind, (total, trained) = KINDS[KIND], count_parameters(task.model)
    train, valid = task.train_samples.rows, task.valid_samples.rows
    guess = mean_error(task.eyes.ellipses[train], task.eyes.ellipses[valid])
    print(f"samples: {len(train)} training, {len(valid)} validation frames")
    print(f"model: {kind.model_type}, {total:,} parameters; the mean's centre error: {guess:.1f} px")
    print(f"device: {device}, {runtime.processes} x {runtime.threads} threads", flush=True)
    identity = {"ellipse": settings, "runtime": runtime.results(), "seed": seed, **data_hashes(data)}
    tags = {"model_type": kind.model_type, "architecture": kind.architecture}
    facts = {"height": task.eyes.height, "width": task.eyes.width, "config": asdict(settings)}
    loop = loop_settings(settings, seed)
    with (
        checkpoint.resumable(STAGE, identity) as directory,
        track(STAGE, params=identity, tags=tags, live_dir=out / "live") as tracker,
    ):
        fitted = fit(factory, loop, runtime, directory, tracker)
        best = fitted.progress
        write_checkpoints(fitted, KIND, loop, "centre", facts, out, tracker)
        numbers = {"parameters": trained, "baseline_centre_px": round(guess, 4)}
        write_measured(fitted, MEASURED, numbers, metrics, plots)
        tracker.summary({"best_valid_centre_px": best.best_value, "best_epoch": best.best_epoch + 1})
    print(f"best model: epoch {best.best_epoch + 1} of {best.epoch}, centre error {best.best_value:.2f} px")


def mean_error(train: NDArray[np.float32], valid: NDArray[np.float32]) -> float:
    """The mean centre error in pixels of a whole frame of always answering the mean of `train` (N x 4, with nan)."""
    away = (valid[:, :2] - np.nanmean(train[:, :2], axis=0)) * SCALE[:2]
    return float(np.nanmean(np.hypot(*away.T)))


def loop_settings(settings: Ellipse, seed: int) -> Settings:
    """The part of `settings` that the loop needs."""
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch=settings.micro_batch,
        seed=seed,
        monitor="centre_px",
        mode="min",
        patience=settings.early_stop,
        schedule="onecycle",
        schedule_options={"warmup": WARMUP},
        keep_every=KEEP_EVERY,
        keep_improvements=KEEP_IMPROVEMENTS,
        compile=True,
    )

"""`train_pupil`: a segmenter of the pupil, tiny, micro or shallow, on the prepared eyes.

The mean IoU of background and pupil on the validation frames decides which epoch is kept.
"""

from functools import partial
from pathlib import Path

from visage.eyes.config import Pupil
from visage.eyes.pupil_task import PupilTask
from visage.eyes.train import Training, train
from visage.runtime import Runtime

MEASURED = ("loss", "iou", "pupil_iou", "picture_iou", "ce_loss", "dice_loss", "surface_loss")


def train_pupil(
    settings: Pupil, runtime: Runtime, *, seed: int, data: Path, out: Path, metrics: Path, plots: Path
) -> None:
    """Train `settings.variant`; arguments, results and errors are those of `visage.eyes.train.train`."""
    best = train(
        pupil_training(settings, data, seed), runtime, seed=seed, data=data, out=out, metrics=metrics, plots=plots
    )
    row = best.history[best.best_epoch]
    print(f"best model: epoch {best.best_epoch + 1} of {best.epoch}, pupil IoU {row['valid_pupil_iou']:.4f}")


def pupil_training(settings: Pupil, data: Path, seed: int) -> Training:
    """What `train_pupil` trains on the prepared eyes in folder `data`."""
    return Training(
        stage="train_pupil",
        section="pupil",
        settings=settings,
        kind=settings.variant,
        factory=partial(PupilTask, settings, data, seed),
        monitor="iou",
        mode="max",
        label="miou",
        measured=MEASURED,
    )

"""`train_pupil`: a segmenter of the pupil, tiny, micro or shallow, on the prepared eyes.

The validation mean IoU decides which epoch is kept. The rate warms up and anneals over the run (one cycle), which is
what lets such small networks learn in a few hundred steps.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from visage.eyes.checkpoints import KEEP_EVERY, KEEP_IMPROVEMENTS, write_checkpoints
from visage.eyes.config import Pupil
from visage.eyes.networks import KINDS
from visage.eyes.optimizer import WARMUP
from visage.eyes.prepared import ELLIPSES, INDEX, META
from visage.eyes.pupil_task import PupilTask
from visage.io.atomic import sha256_file, write_json
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint, memory
from visage.training.fit import Fitted, fit
from visage.training.freeze import count_parameters
from visage.training.history import write_history
from visage.training.task import Settings

STAGE = "train_pupil"
MEASURED = ("loss", "iou", "pupil_iou", "picture_iou", "ce_loss", "dice_loss", "surface_loss")


def train_pupil(
    settings: Pupil, runtime: Runtime, *, seed: int, data: Path, out: Path, metrics: Path, plots: Path
) -> None:
    """Train `settings.variant` and write its checkpoints into `out`, the metrics and the curves (plots/history.csv).

    data: what prepare_eyes wrote.

    Raises:
        VisageError: what cannot be honoured, found before training begins.
        Unfinished: the time limit came first.
    """
    factory = partial(PupilTask, settings, data, seed)
    device = torch_device(runtime, seed)
    task = factory()
    memory.check(memory.measure(task, runtime), "pupil", settings.micro_batch, settings.batch_size, runtime)
    kind, (total, trained) = KINDS[settings.variant], count_parameters(task.model)
    print(f"samples: {len(task.train_samples)} training, {len(task.valid_samples)} validation frames")
    print(f"model: {kind.model_type}, {total:,} parameters, {trained:,} of them train")
    print(f"device: {device}, {runtime.processes} x {runtime.threads} threads", flush=True)
    identity = {"pupil": settings, "runtime": runtime.results(), "seed": seed, **data_hashes(data)}
    tags = {"model_type": kind.model_type, "architecture": kind.architecture}
    facts = {"height": task.eyes.height, "width": task.eyes.width, "config": asdict(settings)}
    loop = loop_settings(settings, seed)
    with (
        checkpoint.resumable(f"{STAGE}_{settings.variant}", identity) as directory,
        track(STAGE, params=identity, tags=tags, live_dir=out / "live") as tracker,
    ):
        fitted = fit(factory, loop, runtime, directory, tracker)
        best = fitted.progress
        write_checkpoints(fitted, settings.variant, loop, "miou", facts, out, tracker)
        write_measured(fitted, MEASURED, {"parameters": trained}, metrics, plots)
        tracker.summary({"best_valid_iou": best.best_value, "best_epoch": best.best_epoch + 1, "parameters": trained})
    row = best.history[best.best_epoch]
    print(f"best model: epoch {best.best_epoch + 1} of {best.epoch}, pupil IoU {row['valid_pupil_iou']:.4f}")


def write_measured(
    fitted: Fitted, names: tuple[str, ...], facts: Mapping[str, float], metrics: Path, plots: Path
) -> None:
    """The best epoch's numbers called `names`, with `facts`, and the history."""
    best = fitted.progress.history[fitted.progress.best_epoch]
    columns = [f"{split}_{name}" for split in ("train", "valid") for name in names]
    measured = {column: round(best[column], 4) for column in columns}
    epochs = {"epochs": fitted.progress.epoch, "best_epoch": fitted.progress.best_epoch + 1}
    write_json(metrics, {**measured, **facts, **epochs})
    write_history(plots / "history.csv", fitted.progress.history)


def data_hashes(data: Path) -> dict[str, str]:
    """What the prepared eyes are known by in resume states: their index, their description, their ellipses."""
    return {name: sha256_file(data / name) for name in (INDEX, META, ELLIPSES)}


def loop_settings(settings: Pupil, seed: int) -> Settings:
    """The part of `settings` that the loop needs."""
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch=settings.micro_batch,
        seed=seed,
        monitor="iou",
        patience=settings.early_stop,
        schedule="onecycle",
        schedule_options={"warmup": WARMUP},
        keep_every=KEEP_EVERY,
        keep_improvements=KEEP_IMPROVEMENTS,
        compile=True,
    )

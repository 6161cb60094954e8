"""`train_patch_head`: a decoder of hair on the cached maps of patches; no encoder and no picture is in memory.

The IoU of the validation patches decides which epoch is kept. The rate warms up and anneals over the run (one cycle).
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path

from visage.hair.config import PatchHead
from visage.hair.patch_head import CHECKPOINT
from visage.hair.patch_manifest import FEATURES, MANIFEST, META, STATISTICS
from visage.hair.patch_task import PatchTask
from visage.hair.prepared import ALPHAS, INDEX
from visage.io.atomic import sha256_file
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint, memory
from visage.training.fit import Fitted, fit
from visage.training.freeze import count_parameters
from visage.training.history import DIGITS
from visage.training.measured import write_measured
from visage.training.task import Settings

STAGE = "train_patch_head"
MEASURED = ("loss", "iou", "bce_loss", "dice_loss")


def train_patch_head(
    settings: PatchHead,
    runtime: Runtime,
    *,
    seed: int,
    patches: Path,
    data: Path,
    out: Path,
    metrics: Path,
    plots: Path,
) -> None:
    """Write out/best_head.pt, the metrics and the curves (plots/history.csv).

    patches: what extract_patches wrote. data: what prepare_hair wrote, for the labels.

    Raises:
        VisageError: what cannot be honoured, found before training begins.
        Unfinished: the time limit came first.
    """
    factory = partial(PatchTask, settings, patches, data)
    device = torch_device(runtime, seed)
    task = factory()
    memory.check(
        memory.measure(task, runtime), "patch_head.micro_batch", settings.micro_batch, settings.batch_size, runtime
    )
    parameters = count_parameters(task.model)[0]
    print(f"samples: {len(task.train_samples)} training, {len(task.valid_samples)} validation patches")
    print(f"model: {parameters:,} parameters on maps of {task.patches.arch}")
    print(f"device: {device}, {runtime.processes} x {runtime.threads} threads", flush=True)
    hashes = {name: sha256_file(patches / name) for name in (MANIFEST, FEATURES, META, STATISTICS)}
    labels = {name: sha256_file(data / name) for name in (INDEX, ALPHAS)}
    identity = {"patch_head": settings, "runtime": runtime.results(), "seed": seed, **hashes, **labels}
    with (
        checkpoint.resumable(STAGE, identity) as directory,
        track(STAGE, params=identity, tags={"encoder": task.patches.arch}, live_dir=out / "live") as tracker,
    ):
        fitted = fit(factory, loop_settings(settings, seed), runtime, directory, tracker)
        write_head(fitted, settings, task, out / CHECKPOINT)
        tracker.artifact(out / CHECKPOINT)
        progress = fitted.progress
        write_measured(fitted, MEASURED, {"parameters": parameters}, metrics, (plots / "history.csv",))
        tracker.summary({"best_valid_iou": progress.best_value, "best_epoch": progress.best_epoch + 1})
    print(f"best head: epoch {progress.best_epoch + 1} of {progress.epoch}, hair IoU {progress.best_value:.4f}")


def write_head(fitted: Fitted, settings: PatchHead, task: PatchTask, path: Path) -> None:
    """The best epoch's weights, with what it takes to use them."""
    epoch = fitted.progress.best_epoch
    row = fitted.progress.history[epoch]
    patches = task.patches
    content = {
        "model": checkpoint.load(fitted.best)["model"],
        "maps": [asdict(shape) for shape in patches.shapes],
        "size": patches.size,
        "overlap": patches.overlap,
        "width": settings.width,
        "arch": patches.arch,
        "weights_sha256": patches.weights_sha256,
        "epoch": epoch + 1,
        "metrics": {key: round(value, DIGITS) for key, value in row.items() if key != "epoch"},
        "config": asdict(settings),
    }
    checkpoint.save(path, content)


def loop_settings(settings: PatchHead, seed: int) -> Settings:
    """The part of `settings` that the loop needs."""
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch=settings.micro_batch,
        seed=seed,
        monitor="iou",
        patience=settings.early_stop,
        schedule="onecycle",
    )

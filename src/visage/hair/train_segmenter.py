"""`train_hair_segmenter`: a network for hair on the prepared pictures, from the pipeline's pretrained encoder.

The validation IoU decides which epoch is kept. The rate warms up and anneals over the run (one cycle), because a light
finetune has a few hundred steps; where early stopping cuts the cycle short, the best epoch so far is what is kept.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from visage.features.pyramid import PYRAMID
from visage.hair.config import Segmenter
from visage.hair.context import write_encoder
from visage.hair.networks import KINDS, context_name, load_network
from visage.hair.prepared import INDEX, META
from visage.hair.segmenter_task import COMPONENTS, SegmenterTask, planned_epochs
from visage.io.atomic import sha256_file
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import Tracker, track
from visage.training import checkpoint, memory
from visage.training.fit import Fitted, fit
from visage.training.freeze import count_parameters
from visage.training.history import DIGITS
from visage.training.measured import write_measured
from visage.training.task import Settings

STAGE = "train_hair_segmenter"
MEASURED = ("loss", "iou", "f1", "picture_iou", "alpha_error", *COMPONENTS)
WARMUP = 0.15


def train_segmenter(
    settings: Segmenter,
    runtime: Runtime,
    *,
    seed: int,
    data: Path,
    encoder: Path,
    resnet: Path,
    out: Path,
    metrics: Path,
    plots: Path,
) -> None:
    """Train `settings.arch` and write out/best_model.pt and out/final_model.pt, the metrics and the curves
    (plots/history.csv); of a network on the pretrained encoder also that encoder as it is now (out/encoder), for the
    patches.

    data: what prepare_hair wrote. encoder: the folder of pretrain_encoder. resnet: torchvision's weights of ResNet-18,
    used where that file is there and the network has that context.

    Raises:
        VisageError: what cannot be honoured, found before training begins.
        Unfinished: the time limit came first.
    """
    weights = resnet if resnet.is_file() and not KINDS[settings.arch].pretrained else None
    factory = partial(SegmenterTask, settings, data, encoder, seed, weights)
    device = torch_device(runtime, seed)
    task = factory()
    memory.check(
        memory.measure(task, runtime), "segmenter.micro_batch", settings.micro_batch, settings.batch_size, runtime
    )
    context = context_name(settings.arch, encoder)
    total, trained = count_parameters(task.model)
    print(f"samples: {len(task.train_samples)} training (an epoch), {len(task.valid_samples)} validation pictures")
    print(f"model: {settings.arch} on {context}, {total:,} parameters, {trained:,} of them train")
    if weights is None and not KINDS[settings.arch].pretrained:
        print(f"warning: the context starts from random weights: put torchvision's ResNet-18 at {resnet}")
    print(f"device: {device}, {runtime.processes} x {runtime.threads} threads", flush=True)
    # What the machine costs changes no result.
    recorded = replace(settings, price_per_hour=0.0)
    identity = {"segmenter": recorded, "runtime": runtime.results(), "seed": seed}
    hashes = {name: sha256_file(path) for name, path in _sources(settings.arch, data, encoder, weights).items()}
    tags = {"model_type": KINDS[settings.arch].model_type, "architecture": settings.arch}
    facts = {"kind": settings.arch, "context": context, "size": task.pictures.size, "config": asdict(recorded)}
    with (
        checkpoint.resumable(STAGE, {**identity, **hashes}) as directory,
        track(STAGE, params=identity, tags=tags, live_dir=out / "live") as tracker,
    ):
        fitted = fit(factory, loop_settings(settings, seed), runtime, directory, tracker)
        _write_checkpoints(fitted, facts, out, tracker)
        if KINDS[settings.arch].pretrained:
            network, _ = load_network(out / "best_model.pt")
            write_encoder(network.get_submodule("context"), encoder, out / "encoder")  # type: ignore[arg-type]
        numbers = {"parameters": total, "trained_parameters": trained}
        write_measured(fitted, MEASURED, numbers, metrics, (plots / "history.csv",))
        best = fitted.progress
        tracker.summary({"best_valid_iou": best.best_value, "best_epoch": best.best_epoch + 1, "parameters": total})
    print(f"best model: epoch {best.best_epoch + 1} of {best.epoch}, hair IoU {best.best_value:.4f}")


def loop_settings(settings: Segmenter, seed: int) -> Settings:
    """The part of `settings` that the loop needs."""
    return Settings(
        epochs=planned_epochs(settings),
        batch_size=settings.batch_size,
        micro_batch=settings.micro_batch,
        seed=seed,
        monitor="iou",
        patience=settings.early_stop,
        schedule="onecycle",
        schedule_options={"warmup": WARMUP},
        compile=True,
    )


def _sources(arch: str, data: Path, encoder: Path, weights: Path | None) -> dict[str, Path]:
    """The files that the result depends on, by the names that the resume state knows them by."""
    files = {name: data / name for name in (INDEX, META)}
    if KINDS[arch].pretrained:
        files["encoder"] = encoder / "encoder.safetensors"
        if (encoder / PYRAMID).is_file():
            files["pyramid"] = encoder / PYRAMID
    elif weights is not None:
        files["resnet"] = weights
    return files


def _write_checkpoints(fitted: Fitted, facts: Mapping[str, Any], out: Path, tracker: Tracker) -> None:
    """The best and the last epoch's weights with what was measured; no times, no optimizer: the same bytes after a
    kill."""
    history = fitted.progress.history
    epochs = {
        "best_model.pt": (fitted.progress.best_epoch + 1, fitted.best),
        "final_model.pt": (len(history), fitted.final),
    }
    for name, (epoch, path) in epochs.items():
        weights = {key: tensor.contiguous() for key, tensor in checkpoint.load(path)["model"].items()}
        measured = {key: round(value, DIGITS) for key, value in history[epoch - 1].items() if key != "epoch"}
        checkpoint.save(out / name, {**facts, "model": weights, "epoch": epoch, "metrics": measured})
        tracker.artifact(out / name)

"""`finetune_faces`: transfer learning of a whole network on the prepared faces.

Validation decides which epoch is kept, so a split that is empty (a person with a handful of pictures) is replaced by
the training pictures themselves, and the console says so: an unvalidated model is better than none, an unsaid one is
not.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.faces.config import Finetune
from visage.faces.data import Split, face_preprocessing, load_classes, load_split
from visage.faces.model import build_classifier
from visage.features.encoders import check_watched
from visage.io.atomic import sha256_file, write_json
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import Tracker, track
from visage.training import checkpoint, memory
from visage.training.fit import Fitted, fit
from visage.training.freeze import count_parameters
from visage.training.history import write_history
from visage.training.task import Settings
from visage.vision.augment import Augmentation

STAGE = "finetune_faces"


class FinetuneTask:
    """Classes of faces by cross-entropy; statistics are right answers."""

    def __init__(self, settings: Finetune, data: Path, encoder: str, size: int, seed: int) -> None:
        self.settings = settings
        self.classes = load_classes(data)
        self.model = build_classifier(settings, encoder, len(self.classes))
        self.train_split, self.valid_split = load_training_splits(data, self.classes)
        augmentation = Augmentation(
            settings.flip, settings.rotation, settings.brightness, settings.contrast, settings.saturation
        )
        self.train_samples = self.train_split.samples(face_preprocessing(size), augmentation, seed)
        self.valid_samples = self.valid_split.samples(face_preprocessing(size))

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over what is not frozen."""
        trained = [p for p in self.model.parameters() if p.requires_grad]
        return torch.optim.Adam(trained, lr=self.settings.lr, weight_decay=self.settings.weight_decay, fused=True)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean cross-entropy, and how many were right."""
        images, labels = batch
        logits = model(images)
        return functional.cross_entropy(logits, labels), {"right": (logits.argmax(1) == labels).sum()}

    def report(self, sums: Mapping[str, float], count: int) -> dict[str, float]:
        """Accuracy."""
        return {"accuracy": sums["right"] / count}


def load_training_splits(data: Path, classes: list[str]) -> tuple[Split, Split]:
    """The training and the validation split, the first standing in for an empty second."""
    train, valid = load_split(data, "train", classes), load_split(data, "val", classes)
    return train, valid if valid.rows else train


def finetune(
    settings: Finetune,
    runtime: Runtime,
    *,
    size: int,
    seed: int,
    data: Path,
    encoder: str,
    out: Path,
    metrics: Path,
    plots: Path,
) -> None:
    """Train and write out/best_model.pth, out/final_model.pth, the metrics and the curves (plots/history.csv).

    Raises:
        VisageError: what cannot be honoured, found before training begins.
        Unfinished: the time limit came first.
    """
    if settings.weights == "file":
        check_watched(settings.weights_path, "finetune.weights_path")
    factory = partial(FinetuneTask, settings, data, encoder, size, seed)
    device = torch_device(runtime, seed)
    task = factory()
    memory.check(
        memory.measure(task, runtime), "finetune.micro_batch", settings.micro_batch, settings.batch_size, runtime
    )
    _describe(task, settings, runtime, str(device))
    identity = {"finetune": settings, "runtime": runtime.results(), "seed": seed, "size": size}
    files = {"manifest": str(data / "manifest.jsonl"), "weights": settings.weights_file(encoder)}
    hashes = {name: sha256_file(path) for name, path in files.items() if path}
    tags = {"architecture": settings.arch, "weights": settings.weights}
    with (
        checkpoint.resumable(STAGE, {**identity, **hashes}) as directory,
        track(STAGE, params=identity, tags=tags, live_dir=out / "live") as tracker,
    ):
        fitted = fit(factory, loop_settings(settings, seed), runtime, directory, tracker)
        _write(fitted, settings, task, size, out, tracker)
        _write_measured(fitted, task, metrics, plots)


def _write_measured(fitted: Fitted, task: FinetuneTask, metrics: Path, plots: Path) -> None:
    """The best epoch's numbers and the history."""
    best = fitted.progress.history[fitted.progress.best_epoch]
    measured = {name: round(best[name], 4) for name in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")}
    total, trained = count_parameters(task.model)
    counts = {"parameters": total, "trained_parameters": trained, "epochs": fitted.progress.epoch}
    write_json(metrics, {**measured, **counts, "best_epoch": fitted.progress.best_epoch + 1})
    write_history(plots / "history.csv", fitted.progress.history)


def loop_settings(settings: Finetune, seed: int) -> Settings:
    """The part of `settings` that the loop needs."""
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch=settings.micro_batch,
        seed=seed,
        monitor="accuracy",
        patience=settings.early_stop,
        schedule="plateau",
        schedule_options={
            "factor": settings.plateau_factor,
            "patience": settings.plateau_patience,
            "min_lr": settings.min_lr,
        },
    )


def _write(fitted: Fitted, settings: Finetune, task: FinetuneTask, size: int, out: Path, tracker: Tracker) -> None:
    """The two checkpoints, each loadable with weights_only=True."""
    for name, path in (("best_model.pth", fitted.best), ("final_model.pth", fitted.final)):
        saved = checkpoint.load(path)
        progress = saved["progress"]
        checkpoint.save(
            out / name,
            {
                "model": saved["model"],
                "optimizer": saved["optimizer"],
                "scheduler": saved["schedule"],
                "epoch": progress["epoch"],
                "best_valid_accuracy": progress["best_value"],
                "classes": task.classes,
                "config": asdict(settings) | {"size": size},
            },
        )
        tracker.artifact(out / name)
    best = fitted.progress
    tracker.summary({"best_valid_accuracy": best.best_value, "best_epoch": best.best_epoch + 1})
    print(f"best model: epoch {best.best_epoch + 1} of {best.epoch}, validation accuracy {best.best_value:.4f}")


def _describe(task: FinetuneTask, settings: Finetune, runtime: Runtime, device: str) -> None:
    """What is about to be trained, on the console."""
    total, trained = count_parameters(task.model)
    print(f"classes: {len(task.classes)} ({', '.join(task.classes[:6])}{', ...' if len(task.classes) > 6 else ''})")
    print(f"samples: {len(task.train_samples)} training, {len(task.valid_samples)} validation")
    if task.valid_split is task.train_split:
        print("warning: no validation pictures, the best epoch is chosen on the training pictures")
    print(f"model: {settings.arch} from {settings.weights}, {total:,} parameters, {trained:,} of them train")
    print(f"device: {device}, {runtime.processes} x {runtime.threads} threads", flush=True)

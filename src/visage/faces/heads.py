"""`train_heads`: the fast loop, which trains several classifiers on cached features and compares them on validation.

The resume states of all heads stay until everything is written: DVC deletes the outputs of a killed stage, and its next
run takes the heads that were finished from their states at once.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from visage.errors import ConfigError
from visage.faces.config import HeadDesign, Heads
from visage.faces.data import load_classes
from visage.faces.head_model import CHECKPOINT, best_head, head_path
from visage.faces.head_task import FeatureSamples, HeadTask, training_samples
from visage.features.table import FEATURES, INDEX, FeatureTable, load_table
from visage.io.atomic import sha256_file, write_csv, write_json
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint
from visage.training.fit import Fitted, fit
from visage.training.history import DIGITS
from visage.training.task import Settings

STAGE = "train_heads"
HISTORY = ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy")
# Saving a wide head takes as long as several steps.
SAVE_STEPS = 1000


def train_heads(
    settings: Heads,
    runtime: Runtime,
    *,
    seed: int,
    features: Path,
    data: Path,
    out: Path,
    metrics: Path,
    plots: Path,
) -> None:
    """Train every design; write out/exp_<name>/checkpoints/best_head.pt, the metrics and plots/history.csv.

    features: what `extract_features` wrote; data: the prepared faces, for their classes. One process of one thread
    trains, whatever `runtime` says: a head's step takes less time than handing a part of it over.

    Raises:
        ConfigError: it was started as several processes.
        DataError: the features are not there, are not numbers, or have other classes.
        Unfinished: a head met the time limit.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("train_heads trains in one process: start it without accelerate launch")
    runtime = replace(runtime, processes=1, threads=1, loaders=0)
    classes, table = load_classes(data), load_table(features)
    train, valid = training_samples(table, classes)
    _describe(table, classes, train, valid, str(torch_device(runtime, seed)))
    hashes = {name: sha256_file(features / name) for name in (FEATURES, INDEX)}
    identity = {"runtime": runtime.results(), "seed": seed, "classes": classes, **hashes}
    for stale in out.glob(f"exp_*/{CHECKPOINT}"):
        stale.unlink()
    with ExitStack() as states:
        saved, measured, rows = {}, {}, []
        for name, design in settings.designs.items():
            print(f"head {name}: hidden layers {list(design.hidden) or 'none'}, dropout {design.dropout:g}", flush=True)
            params = {"heads": replace(settings, designs={name: design}), **identity}
            directory = states.enter_context(checkpoint.resumable(STAGE, params))
            factory = partial(HeadTask, settings, design, len(classes), train, valid)
            with track(STAGE, params=params, tags={"head": name, "encoder": table.encoder["encoder"]}) as tracker:
                fitted = fit(factory, loop_settings(settings, seed), runtime, directory, tracker)
                saved[name] = _content(fitted, settings, design, table, classes)
                tracker.artifact(_written(head_path(out, name), saved[name]))
                measured[name] = _measured(fitted, saved[name])
                tracker.summary(measured[name])
            rows += [{"epoch": row["epoch"], "head": name, **_rounded(row)} for row in fitted.progress.history]
        best = best_head(saved)
        write_json(metrics, {**measured, "best": best})
        write_csv(plots / "history.csv", rows, ("epoch", "head", *HISTORY))
    print(f"best head: {best}, validation accuracy {saved[best]['best_valid_accuracy']:.4f}")


def loop_settings(settings: Heads, seed: int) -> Settings:
    """The part of `settings` that the loop needs."""
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch=settings.batch_size,
        seed=seed,
        monitor="accuracy",
        patience=settings.early_stop,
        save_steps=SAVE_STEPS,
    )


def _content(
    fitted: Fitted, settings: Heads, design: HeadDesign, table: FeatureTable, classes: Sequence[str]
) -> dict[str, Any]:
    """The checkpoint of a trained head, loadable with weights_only=True."""
    config = asdict(settings)
    del config["designs"]
    best = fitted.progress.history[fitted.progress.best_epoch]
    return {
        "model": checkpoint.load(fitted.best)["model"],
        "design": asdict(design),
        "classes": list(classes),
        "encoder": table.encoder["encoder"],
        "dim": table.encoder["dim"],
        "epoch": fitted.progress.best_epoch + 1,
        "best_valid_accuracy": best["valid_accuracy"],
        "best_valid_loss": best["valid_loss"],
        "config": config,
    }


def _written(path: Path, content: Mapping[str, Any]) -> Path:
    checkpoint.save(path, content)
    return path


def _measured(fitted: Fitted, saved: Mapping[str, Any]) -> dict[str, float]:
    """A head's numbers for the metrics file."""
    best = fitted.progress.history[fitted.progress.best_epoch]
    measured = {name: round(best[name], 4) for name in ("valid_accuracy", "valid_loss", "train_accuracy")}
    counts = {"best_epoch": saved["epoch"], "epochs": fitted.progress.epoch}
    return {**measured, **counts, "parameters": sum(tensor.numel() for tensor in saved["model"].values())}


def _rounded(row: Mapping[str, float]) -> dict[str, float]:
    return {name: round(row[name], DIGITS) for name in HISTORY}


def _describe(
    table: FeatureTable, classes: Sequence[str], train: FeatureSamples, valid: FeatureSamples, device: str
) -> None:
    """What is about to be trained, on the console."""
    print(f"features: {len(table.rows)} x {table.encoder['dim']} of {table.encoder['encoder']}, {len(classes)} classes")
    print(f"samples: {len(train)} training, {len(valid)} validation, on {device}")
    if valid is train:
        print("warning: no validation pictures, the best epoch and head are chosen on the training pictures")

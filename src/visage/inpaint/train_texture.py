"""`train_texture`: the encoder of hair texture, told curl and volume, on the pictures that prepare_inpaint wrote.

The mean accuracy of curl and volume on the validation pictures decides which epoch is kept.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from visage.errors import DataError
from visage.inpaint.config import Texture
from visage.inpaint.record import METADATA, read_metadata
from visage.inpaint.texture_data import TextureSamples
from visage.inpaint.texture_measure import look, measure
from visage.inpaint.texture_net import ENCODER, load_network, write_network
from visage.inpaint.texture_plots import write_plots
from visage.inpaint.texture_task import TextureTask
from visage.io.atomic import sha256_file, write_json
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint, memory
from visage.training.fit import Fitted, fit
from visage.training.freeze import count_parameters
from visage.training.history import write_history
from visage.training.task import Settings

STAGE = "train_texture"
NETWORK = "texture_encoder.safetensors"
WARMUP = 0.1


def train_texture(
    settings: Texture,
    runtime: Runtime,
    *,
    seed: int,
    data: Path,
    encoder: Path,
    out: Path,
    metrics: Path,
    plots: Path,
) -> None:
    """Write out/texture_encoder.safetensors and stage1_step_<n>.safetensors (every `snapshot_steps` and the last), the
    metrics on the test pictures, and the plots.

    The encoder is the last epoch's, where the cycle has annealed; with early stopping, which cuts it short, the best
    one's. A validation set of a few dozen people would otherwise pick an unfinished epoch by luck (docs/LOG.md).

    data: what prepare_inpaint wrote. encoder: the folder of pretrain_encoder.

    Raises:
        VisageError: what cannot be honoured, found before training begins.
        Unfinished: the time limit came first.
    """
    settings.check()
    rows = read_metadata(data)
    test = [row for row in rows if row.split == "test"]
    if not test:
        raise DataError("there are no test pictures: give inpaint.prepare.test a larger share")
    factory = partial(TextureTask, settings, data, encoder, seed)
    device = torch_device(runtime, seed)
    task = factory()
    size = settings.batch_size
    memory.check(memory.measure(task, runtime), "texture.batch_size", size, size, runtime)
    parameters = count_parameters(task.model)[0]
    print(f"samples: {len(task.train_rows)} training, {len(task.valid_samples)} validation, {len(test)} test pictures")
    print(f"model: {task.backbone}, {parameters:,} parameters")
    print(f"device: {device}, {runtime.processes} x {runtime.threads} threads", flush=True)
    weights = sha256_file(encoder / "encoder.safetensors") if settings.arch == ENCODER else settings.weights
    identity = {
        "texture": settings,
        "runtime": runtime.results(),
        "seed": seed,
        "data": sha256_file(data / METADATA),
        "weights": weights,
    }
    with (
        checkpoint.resumable(STAGE, identity) as directory,
        track(STAGE, params=identity, tags={"architecture": task.backbone}, live_dir=out / "live") as tracker,
    ):
        fitted = fit(factory, loop_settings(settings, seed), runtime, directory, tracker)
        progress = fitted.progress
        kept, chosen = (progress.best_epoch, fitted.best) if settings.early_stop else (progress.epoch - 1, fitted.final)
        _write(fitted, chosen, settings, task.backbone, out)
        tracker.artifact(out / NETWORK)
        network, _ = load_network(out / NETWORK)
        sets = (TextureSamples(data, part, settings.size, settings.part, seed) for part in (test, task.train_rows))
        seen, known = (look(network, samples, settings.looks) for samples in sets)
        measured = measure(seen, known)
        facts = {"parameters": parameters, "architecture": task.backbone, "epochs": progress.epoch}
        names = ("accuracy", "curl_accuracy", "volume_accuracy")
        valid = {name: round(progress.history[kept][f"valid_{name}"], 4) for name in names}
        write_json(metrics, {**measured, "valid": valid, **facts, "kept_epoch": kept + 1})
        write_history(plots / "history.csv", progress.history)
        write_plots(seen, known, data, plots)
        tracker.summary({"best_valid_accuracy": progress.best_value, "best_epoch": progress.best_epoch + 1})
    print(f"test: {len(test)} pictures of {measured['sources']} people never seen")
    for name in ("curl", "volume"):
        print(f"{name:7} {_line(measured[name])}")


def loop_settings(settings: Texture, seed: int) -> Settings:
    """The part of `settings` that the loop needs; all views of a step are in one pass, since each is compared with all
    others."""
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch=settings.batch_size,
        seed=seed,
        monitor="accuracy",
        patience=settings.early_stop,
        schedule="onecycle",
        schedule_options={"warmup": WARMUP},
        keep_every=settings.snapshot_steps // settings.steps,
    )


def _write(fitted: Fitted, chosen: Path, settings: Texture, backbone: str, out: Path) -> None:
    config = {**asdict(settings), "arch": backbone}
    epochs = {**fitted.kept} | {fitted.progress.epoch: fitted.final}
    for epoch, path in epochs.items():
        name = f"stage1_step_{epoch * settings.steps}.safetensors"
        write_network(out / name, checkpoint.load(path)["model"], config)
    write_network(out / NETWORK, checkpoint.load(chosen)["model"], config)


def _line(measured: Any) -> str:
    if isinstance(measured, str):
        return measured
    return "  ".join(f"{name} {value:.3f}" for name, value in measured.items())

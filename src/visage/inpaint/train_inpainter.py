"""`train_inpainter`: the UNet that paints hair, on latents of the prepared pictures.

Latents, masks and styles are computed first, in files that a killed run finds again; from then on neither the
autoencoder's encoder nor the text encoders are in memory.
"""

import shutil
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from visage.errors import ConfigError, DataError
from visage.features.encoders import check_watched
from visage.inpaint.diffusion_config import Inpainter
from visage.inpaint.footprint import footprint, format_footprint
from visage.inpaint.inpainter_net import write_inpainter
from visage.inpaint.inpainter_task import InpainterTask, Sources, views_of
from visage.inpaint.inpainter_watch import Watch, trained_state
from visage.inpaint.latent_cache import Views, fill_cache
from visage.inpaint.latents import open_autoencoder
from visage.inpaint.perceptual import GramLoss
from visage.inpaint.picture_set import PictureSet
from visage.inpaint.record import METADATA, read_metadata
from visage.inpaint.shown import Shown
from visage.inpaint.style import open_style
from visage.inpaint.unet import check_weights
from visage.io.atomic import sha256_file, write_json
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint, memory
from visage.training.fit import fit
from visage.training.freeze import count_parameters
from visage.training.history import write_history
from visage.training.task import Settings

STAGE = "train_inpainter"
LATEST = "deep_hair_v1_latest.safetensors"
WARMUP = 0.08


@dataclass(frozen=True)
class Inputs:
    """What earlier stages wrote: the prepared set, and the folders of this domain's stages and of the features'."""

    data: Path
    inpaint: Path
    features: Path

    @property
    def autoencoder(self) -> Path:
        """The folder of train_autoencoder."""
        return self.inpaint / "train_autoencoder"

    @property
    def prompts(self) -> Path:
        """The folder of encode_prompts."""
        return self.inpaint / "encode_prompts"

    @property
    def texture(self) -> Path:
        """The file of train_texture."""
        return self.inpaint / "train_texture" / "texture_encoder.safetensors"

    @property
    def encoder(self) -> Path:
        """The folder of pretrain_encoder."""
        return self.features / "pretrain_encoder"

    def identity(self) -> dict[str, str]:
        """The checksums of all that decides the result."""
        files = [self.data / METADATA, self.autoencoder / "record.json", self.prompts / "prompts.safetensors",
                 self.texture, self.encoder / "encoder.safetensors"]  # fmt: skip
        files += sorted((self.autoencoder / "vae").glob("*"))
        return {file.name: sha256_file(file) for file in files if file.is_file()}


def train_inpainter(
    settings: Inpainter,
    size: int,
    runtime: Runtime,
    *,
    seed: int,
    inputs: Inputs,
    out: Path,
    metrics: Path,
    plots: Path,
) -> None:
    """Write out/stage2_step_<n>.safetensors, out/stage2_epoch_<n>.safetensors, out/deep_hair_v1_latest.safetensors (the
    averaged weights), the metrics of training, and the plots with the sheets.

    size: pixels a side of the pictures (autoencoder.size).

    Raises:
        VisageError: what cannot be honoured, found before training begins.
        Unfinished: the time limit came first.
    """
    settings.check()
    check_possible(settings, runtime)
    rows = read_metadata(inputs.data)
    train = [row for row in rows if row.split == "train"]
    valid = [row for row in rows if row.split == "val"] or train
    if not train:
        raise DataError("there are no training pictures: give inpaint.prepare.train a larger share")
    style = open_style(inputs.texture)
    vae = open_autoencoder(inputs.autoencoder)
    device = torch_device(runtime, seed)
    identity: dict[str, Any] = {
        "inpainter": settings,
        "size": size,
        "runtime": runtime.results(),
        "seed": seed,
        "inputs": inputs.identity(),
    }
    with (
        checkpoint.resumable(STAGE, identity) as directory,
        track(STAGE, params=identity, live_dir=out / "live") as tracker,
    ):
        shown = Shown(settings.convention, settings.outline)
        sets = {name: PictureSet(inputs.data, part, size) for name, part in (("train", train), ("valid", valid))}
        for name, pictures in sets.items():
            views = views_of(settings, seed) if name == "train" else Views()
            fill_cache(directory / name, pictures, vae, style, shown, views, str(device), runtime.threads)
        sources = Sources(
            inputs.data, inputs.autoencoder, inputs.prompts, inputs.texture, inputs.encoder,
            directory / "train", directory / "valid",
        )  # fmt: skip
        watch = partial(Watch, settings, directory / "snapshots", directory / "sheets", sets["valid"])
        factory = partial(InpainterTask, settings, sources, style.width, size, seed, watch)
        task = factory()
        part = memory.per_process(settings.micro_batch, settings.batch_size, runtime)
        budget = memory.measure(task, runtime)
        print(format_footprint(footprint(task, budget, part, runtime), runtime), flush=True)
        memory.check(budget, "inpainter.micro_batch", settings.micro_batch, settings.batch_size, runtime)
        total, trained = count_parameters(task.model)
        print(f"pictures: {len(train)} training, {len(valid)} validation")
        print(f"model: {total:,} parameters, {trained:,} of them train ({settings.trainable})")
        print(f"device: {device}, {runtime.processes} x {runtime.threads} threads", flush=True)
        fitted = fit(factory, loop_settings(settings, seed), runtime, directory, tracker)
        task.model.load_state_dict(checkpoint.load(fitted.final)["model"])
        steps = int(task.model.average.optimization_step)
        with task.model.averaged() as network:
            assert task.watch is not None
            write_inpainter(out / LATEST, trained_state(network), task.watch.config(network, steps))
        for folder, target in ((directory / "snapshots", out), (directory / "sheets", plots / "sheets")):
            for file in sorted(folder.glob("*")):
                target.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target / file.name)
        history = fitted.progress.history
        write_history(plots / "history.csv", history)
        last = {name: round(history[-1][f"valid_{name}"], 4) for name in ("noise_loss",)}
        write_json(metrics, {**last, "steps": steps, "epochs": len(history), "parameters": total, "trained_parameters":
                             trained, "pictures": len(train), "convention": settings.convention})  # fmt: skip
        tracker.artifact(out / LATEST)
    print(f"trained {steps} steps: {out / LATEST}")


def check_possible(settings: Inpainter, runtime: Runtime) -> None:
    """Refuse what this machine or these files cannot do, before hours are spent on latents.

    Raises:
        VisageError: names the key.
    """
    if settings.source == "file":
        check_watched(settings.path, "inpainter.path")
    check_watched(settings.consistency.file, "inpainter.consistency.file")
    check_weights(settings)
    if settings.consistency.by == "vgg16":
        GramLoss(settings.consistency.file)
    if settings.optimizer == "adamw8bit" and not find_spec("bitsandbytes"):
        raise ConfigError(
            "inpainter.optimizer=adamw8bit needs bitsandbytes and a GPU: pip install bitsandbytes, or "
            "inpainter.optimizer=adamw"
        )
    if settings.frozen == "bf16" and runtime.precision != "bf16":
        raise ConfigError(
            f"inpainter.frozen=bf16 with runtime.precision={runtime.precision}: set runtime.precision=bf16 (a GPU's), "
            "or inpainter.frozen=fp32"
        )


def loop_settings(settings: Inpainter, seed: int) -> Settings:
    """The part of `settings` that the loop needs."""
    return Settings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        micro_batch=settings.micro_batch,
        seed=seed,
        monitor="noise_loss",
        mode="min",
        schedule="onecycle",
        schedule_options={"warmup": WARMUP},
        clip_norm=settings.clip_norm,
    )

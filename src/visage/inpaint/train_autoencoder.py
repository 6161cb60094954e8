"""`train_autoencoder`: the autoencoder whose latents the inpainter works in: a small one trained here, or SDXL's.

What it loses no inpainter can bring back, so what it reaches on test pictures is recorded as the ceiling.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from visage.errors import DataError
from visage.features.encoders import check_watched
from visage.inpaint.autoencoder_task import AutoencoderTask, psnr_db
from visage.inpaint.diffusion_config import Autoencoder
from visage.inpaint.latents import decode, encode, load_autoencoder, open_autoencoder, write_record
from visage.inpaint.picture_set import PictureSet, from_signed, to_signed
from visage.inpaint.record import METADATA, read_metadata
from visage.io.atomic import sha256_file, write_bytes, write_json
from visage.runtime import Runtime, torch_device
from visage.tracking.tracker import track
from visage.training import checkpoint, memory
from visage.training.fit import fit
from visage.training.freeze import count_parameters
from visage.training.history import write_history
from visage.training.task import Settings
from visage.vision.sheet import contact_sheet, write_sheet

STAGE = "train_autoencoder"
WARMUP, CLIP = 0.05, 1.0
PART = 16  # pictures at once
SHOWN, TILE = 12, 128
LOW_PASS = 8  # pixels


def train_autoencoder(
    settings: Autoencoder, runtime: Runtime, *, seed: int, data: Path, out: Path, metrics: Path, plots: Path
) -> None:
    """Write out/record.json, out/vae where it was trained here, the metrics on the test pictures, and the plots.

    data: what prepare_inpaint wrote.

    Raises:
        VisageError: what cannot be honoured, found before training begins.
        Unfinished: the time limit came first.
    """
    settings.check()
    if settings.source == "file":
        check_watched(settings.path, "autoencoder.path")
    rows = read_metadata(data)
    test = [row for row in rows if row.split == "test"]
    if not test:
        raise DataError("there are no test pictures: give inpaint.prepare.test a larger share")
    pictures = PictureSet(data, test, settings.size)
    if settings.source != "new":
        measured = ceiling(load_autoencoder(settings.source, settings.path), pictures, plots)
        write_record(out, settings.source, settings.path)
        write_json(metrics, {**measured, "source": settings.source, "trained": False})
        write_history(plots / "history.csv", [])
        return
    factory = partial(AutoencoderTask, settings, data, seed)
    torch_device(runtime, seed)
    task = factory()
    size = settings.batch_size
    memory.check(memory.measure(task, runtime), "autoencoder.batch_size", size, size, runtime)
    identity = {
        "autoencoder": settings,
        "runtime": runtime.results(),
        "seed": seed,
        "data": sha256_file(data / METADATA),
    }
    with (
        checkpoint.resumable(STAGE, identity) as directory,
        track(STAGE, params=identity, live_dir=out / "live") as tracker,
    ):
        loop = Settings(
            epochs=settings.epochs, batch_size=size, micro_batch=size, seed=seed, monitor="psnr",
            schedule="onecycle", schedule_options={"warmup": WARMUP}, clip_norm=CLIP,
        )  # fmt: skip
        fitted = fit(factory, loop, runtime, directory, tracker)
        task.model.load_state_dict(checkpoint.load(fitted.best)["model"])
        _write(task, out)
        measured = ceiling(open_autoencoder(out), pictures, plots)
        parameters = count_parameters(task.model)[0]
        write_json(metrics, {**measured, "source": "new", "trained": True, "parameters": parameters})
        write_history(plots / "history.csv", fitted.progress.history)
        tracker.summary({"hair_psnr": measured["hair_psnr"]})
    print(
        f"test: {len(test)} pictures: {measured['hair_psnr']:.2f} dB inside the hair, {measured['psnr']:.2f} dB in all"
    )


def ceiling(vae: Any, pictures: PictureSet, plots: Path) -> dict[str, float | int]:
    """What is left of the test pictures after a round trip, dB, means over pictures: inside the hair, in all, and after
    a low-pass; and plots/reconstructions.png."""
    sums: dict[str, float] = dict.fromkeys(("hair_psnr", "psnr", "low_pass_psnr"), 0.0)
    tiles: list[tuple[np.ndarray, str]] = []
    for start in range(0, len(pictures), PART):
        part = range(start, min(start + PART, len(pictures)))
        truth = torch.from_numpy(np.stack([to_signed(pictures.image(index)) for index in part]))
        hair = torch.from_numpy(np.stack([pictures.hair(index)[None] for index in part])).float()
        with torch.inference_mode():
            made = decode(vae, encode(vae, truth))
        low = [functional.avg_pool2d(tensor, LOW_PASS) for tensor in (made, truth)]
        everywhere = torch.ones_like(hair)
        sums["hair_psnr"] += float(psnr_db(made, truth, hair).sum())
        sums["psnr"] += float(psnr_db(made, truth, everywhere).sum())
        sums["low_pass_psnr"] += float(
            psnr_db(low[0], low[1], everywhere[..., : low[0].shape[-2], : low[0].shape[-1]]).sum()
        )
        for index in part[: max(0, SHOWN // 2 - len(tiles) // 2)]:
            tiles += [(pictures.image(index), "truth"), (from_signed(made[index - start].numpy()), "round trip")]
    write_sheet(plots / "reconstructions.png", contact_sheet(tiles, 6, TILE))
    return {"pictures": len(pictures), **{name: round(total / len(pictures), 3) for name, total in sums.items()}}


def _write(task: AutoencoderTask, out: Path) -> None:
    """The trained autoencoder with the statistics of its latents over the training pictures, in diffusers' layout."""
    from safetensors.torch import save

    vae: Any = task.model.vae.eval()
    pictures = task.train_samples.pictures
    latents = []
    for start in range(0, len(pictures), PART):
        part = range(start, min(start + PART, len(pictures)))
        latents.append(encode(vae, torch.from_numpy(np.stack([to_signed(pictures.image(index)) for index in part]))))
    every = torch.cat(latents).double().movedim(1, 0).flatten(1)
    statistics = {"latents_mean": every.mean(1).tolist(), "latents_std": every.std(1).tolist()}
    config = {name: value for name, value in vae.config.items() if not name.startswith("_")}
    config |= {"_class_name": "AutoencoderKL", **statistics}
    write_json(out / "vae" / "config.json", json.loads(json.dumps(config)))
    state = {name: tensor.contiguous() for name, tensor in sorted(vae.state_dict().items())}
    write_bytes(out / "vae" / "diffusion_pytorch_model.safetensors", save(state, metadata={"format": "pt"}))
    write_record(out, "new", None)

"""Everything the inpainter is trained on, small enough for a test, and a program that trains (to kill).

The prepared set is written by hand, and the texture encoder and the text encoders are random: what is tested is what
becomes of them.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from diffusers import UNet2DConditionModel
from safetensors.numpy import save
from torch import Tensor

from inpaint.toy import portrait, runtime
from visage.inpaint.conditions import Told
from visage.inpaint.diffusion_config import Autoencoder, Consistency, Inpainter, Lora, Prompts
from visage.inpaint.inpainter_task import InpainterTask, Sources, views_of
from visage.inpaint.picture_set import PictureSet
from visage.inpaint.prompt_cache import CACHE, EMPTY, POOLED, PROMPTS, TOKENS
from visage.inpaint.record import METADATA, Row, read_metadata, stored_row
from visage.inpaint.shown import Shown
from visage.inpaint.style import open_style
from visage.inpaint.text_encoders import new_text_encoders
from visage.inpaint.texture_net import TextureNetwork, write_network
from visage.inpaint.train_autoencoder import train_autoencoder
from visage.inpaint.train_inpainter import Inputs, train_inpainter
from visage.inpaint.unet import build_unet
from visage.io.atomic import write_bytes, write_jsonl
from visage.io.rgba import encode_rgba
from visage.runtime import Runtime, tune

SIDE, SIZE = 48, 32  # pixels a side of what is prepared, and of what networks see
SPLITS = ("train",) * 8 + ("val",) * 3 + ("test",) * 3
WORDS = ("bob wavy black", "long straight brown")
WIDTH = 16  # of the text encoders
LATENT = SIZE // 2
SEED = 7
HAIR = ((0, 0, 0), (150, 60, 10), (40, 110, 60), (170, 140, 90))  # added to hair, so that people differ in colour
TEXTURE = {"arch": "mobilenet_v3_small", "projection": 8, "dropout": 0.0, "size": 32, "part": 0.5}


def autoencoder(**changes: Any) -> Autoencoder:
    values: dict[str, Any] = {
        "source": "new", "path": None, "size": SIZE, "channels": [8, 16], "crop": 16, "bald": 0.25, "batch_size": 4,
        "epochs": 2, "steps": 3, "lr": 1e-3, "beta2": 0.999, "detail": 0.5, "colour": 1.0, "kl": 1e-6,
    }  # fmt: skip
    return Autoencoder(**(values | changes))


def consistency(**changes: Any) -> Consistency:
    values: dict[str, Any] = {
        "by": "encoder", "file": None, "texture": 0.1, "identity": 0.0, "every": 2, "crop": 24, "samples": 2,
    }  # fmt: skip
    return Consistency(**(values | changes))


def inpainter(**changes: Any) -> Inpainter:
    values: dict[str, Any] = {
        "source": "new", "path": None, "convention": "bald", "outline": True, "channels": [32, 32], "layers": 1,
        "attention": 1, "depth": 1, "head": 16, "prediction": "sample", "zero_snr": True, "mask": 4.0, "snr_gamma": 0.0,
        "noise_offset": 0.0, "noisier": 0.0, "drop": 0.1, "drop_all": 0.1, "flips": True, "tints": 1,
        "trainable": "full", "frozen": "fp32", "kernel": "sdpa",
        "lora": Lora(4, 4), "consistency": consistency(), "epochs": 2, "steps": 3, "batch_size": 4, "micro_batch": 4,
        "optimizer": "adamw", "lr": 2e-3, "beta2": 0.999, "weight_decay": 0.01, "clip_norm": 1.0, "ema": 0.9,
        "checkpointing": False, "snapshot_steps": 2, "sheet_steps": 4,
    }  # fmt: skip
    return Inpainter(**(values | changes))


SHOWN, VIEWS = Shown("bald", True), views_of(inpainter(), SEED)


def prepared(folder: Path) -> Path:
    """A set as prepare_inpaint writes it; every third picture has no identity. Returns `folder`."""
    folder.mkdir(parents=True)
    rows = []
    for number, split in enumerate(SPLITS):
        image, hair = portrait(number, SIDE)
        ground = np.uint8([40, 90, 160]) + np.uint8(5 * number)
        image = np.where(hair[..., None] == 1, image + np.uint8(HAIR[number % len(HAIR)]), ground)
        paint = cv2.dilate(hair, np.ones((5, 5), np.uint8))
        bald = np.where(paint[..., None] == 1, np.uint8([200, 160, 140]), image)
        names = {name: f"{name}_{number}.png" for name in ("image", "bald", "mask", "hair")}
        for name, pixels in (("image", image), ("bald", bald), ("mask", np.repeat(255 * paint[..., None], 3, 2))):
            cv2.imwrite(str(folder / names[name]), pixels[..., ::-1])
        alone = np.concatenate([image, np.full_like(image[..., :1], 255)], 2) * hair[..., None]
        write_bytes(folder / names["hair"], encode_rgba(alone))
        identity = np.random.default_rng(number).normal(size=512).astype(np.float32)
        np.save(folder / f"identity_{number}.npy", identity / np.linalg.norm(identity))
        row = Row(
            f"r{number}", f"VS{number:06d}", split, f"{number}.jpg", names["image"], names["bald"], names["mask"],
            names["hair"], names["hair"], f"identity_{number}.npy", "test", "no face" if number % 3 == 2 else "", [],
            0, WORDS[number % 2], number % 4, number % 3, None, "none", float(hair.mean()), float(paint.mean()),
        )  # fmt: skip
        rows.append(stored_row(row))
    write_jsonl(folder / METADATA, rows)
    return folder


def make_autoencoder(folder: Path, data: Path, chosen: Autoencoder | None = None) -> None:
    """Train the autoencoder on `data` into `folder`/train_autoencoder."""
    train_autoencoder(
        chosen or autoencoder(), runtime(), seed=5, data=data, out=folder / "train_autoencoder",
        metrics=folder / "autoencoder.json", plots=folder / "plots" / "autoencoder",
    )  # fmt: skip


def make_prompts(folder: Path) -> None:
    """Encode `WORDS` into `folder`/encode_prompts."""
    prompts = [EMPTY, *WORDS]
    tokens, pooled = new_text_encoders(Prompts("new", None, WIDTH, 1, 2)).encode(prompts)
    arrays = {TOKENS: tokens.astype(np.float16), POOLED: pooled}
    write_bytes(folder / "encode_prompts" / CACHE, save(arrays, metadata={PROMPTS: json.dumps(prompts)}))


def make_texture(folder: Path) -> None:
    """A random texture encoder in `folder`/train_texture."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = TextureNetwork(TEXTURE["arch"], TEXTURE["projection"], TEXTURE["dropout"])
    write_network(folder / "train_texture" / "texture_encoder.safetensors", network.state_dict(), TEXTURE)


def inputs(folder: Path) -> Inputs:
    """The inputs that `make` made in `folder`."""
    return Inputs(folder / "data", folder / "made", folder / "features")


def make(folder: Path) -> Inputs:
    """All that train_inpainter takes."""
    made = inputs(folder)
    prepared(made.data)
    make_autoencoder(made.inpaint, made.data)
    make_prompts(made.inpaint)
    make_texture(made.inpaint)
    return made


def pictures(made: Inputs, split: str) -> PictureSet:
    """The pictures of `split`, as networks see them."""
    return PictureSet(made.data, [row for row in read_metadata(made.data) if row.split == split], SIZE)


def task_of(sources: Sources, watch: Any = None, **changes: Any) -> InpainterTask:
    """The training problem over caches that were filled, always from the same weights."""
    torch.manual_seed(9)
    width = open_style(sources.texture).width
    return InpainterTask(inpainter(**changes), sources, width, SIZE, SEED, watch)


def batch_of(task: InpainterTask, count: int = 4, train: bool = True) -> list[Tensor]:
    """The first samples of `task`."""
    samples = task.train_samples if train else task.valid_samples
    return list(torch.utils.data.default_collate([samples[(0, index)] for index in range(min(count, len(samples)))]))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def told(count: int = 3, style: int = 10) -> Told:
    """Of everything there is."""
    return Told(noise(count, 5, 16), noise(count, 12, seed=1), noise(count, style, seed=2), noise(count, 512, seed=3),
                torch.ones(count, 3))  # fmt: skip


def save_unet(folder: Path) -> Path:
    """A small UNet of four input channels, as SDXL's own is, that fits the prompts; returns `folder`."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        config = build_unet([32, 32], 1, 1, 1, 16, 2 * WIDTH, 2 * WIDTH, LATENT).config
        UNet2DConditionModel.from_config({**config, "in_channels": 4}).save_pretrained(folder)
    return folder


class Trained(NamedTuple):
    """A run: its folder and its metrics."""

    folder: Path
    metrics: dict[str, Any]

    @property
    def out(self) -> Path:
        """Where the weights are."""
        return self.folder / "out"


def run(folder: Path, made: Inputs, chosen: Inpainter | None = None, limits: Runtime | None = None) -> dict[str, Any]:
    """Train an inpainter into `folder`; returns its metrics."""
    train_inpainter(
        chosen or inpainter(), SIZE, limits or runtime(), seed=SEED, inputs=made, out=folder / "out",
        metrics=folder / "metrics.json", plots=folder / "plots",
    )  # fmt: skip
    return dict(json.loads((folder / "metrics.json").read_text()))


if __name__ == "__main__":
    tune(runtime())
    run(
        Path(sys.argv[1]), inputs(Path(sys.argv[2])), inpainter(epochs=int(sys.argv[3])),
        replace(runtime(), processes=int(sys.argv[4])),
    )  # fmt: skip

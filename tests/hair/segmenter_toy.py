"""Prepared hair small enough to train on in a test, an encoder, the settings, and a program that trains (to kill)."""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from visage.features import encoders
from visage.hair.config import HairAugment, Segmenter
from visage.hair.prepared import ALPHAS, IMAGES, INDEX, INDEX_COLUMNS, META
from visage.hair.train_segmenter import train_segmenter
from visage.io.atomic import write_csv, write_json
from visage.runtime import Runtime, tune

SIZE = 64
COUNTS = {"train": 24, "val": 6, "test": 2}


def picture(row: int) -> tuple[np.ndarray, np.ndarray]:
    """A striped ellipse on noise, uint8 SIZE x SIZE x 3, and its coverage; every seventh picture has none."""
    rng = np.random.default_rng((9, row))
    large = np.zeros((4 * SIZE, 4 * SIZE), np.uint8)
    if row % 7 != 3:
        centre, axes = rng.uniform(90, 166, 2).astype(int), rng.uniform(50, 90, 2).astype(int)
        cv2.ellipse(large, centre.tolist(), axes.tolist(), 0, 0, 360, 255, cv2.FILLED)
    alpha = cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    stripes = (60 + 30 * (np.arange(SIZE) % 3 == 0)).astype(np.float64)[None, :, None] * np.array([1, 0.8, 0.6])
    ground = rng.normal(150, 15, (SIZE, SIZE, 3))
    share = alpha[..., None] / 255
    return np.clip(share * stripes + (1 - share) * ground, 0, 255).astype(np.uint8), alpha


def prepared(folder: Path, counts: dict[str, int] = COUNTS) -> Path:
    """Pictures in the layout of prepare_hair; returns `folder`."""
    folder.mkdir(parents=True)
    splits = [name for name, count in counts.items() for _ in range(count)]
    pairs = [picture(row) for row in range(len(splits))]
    rows: list[dict[str, Any]] = []
    for row, split in enumerate(splits):
        facts = (row, f"s{row}", f"p{row // 2}", split, f"{row}.png", 0, 0, SIZE, SIZE, SIZE, SIZE, "", "", "", "")
        rows.append(dict(zip(INDEX_COLUMNS, facts, strict=True)))
    np.save(folder / IMAGES, np.stack([image for image, _ in pairs]))
    np.save(folder / ALPHAS, np.stack([alpha for _, alpha in pairs]))
    write_json(folder / META, {"size": SIZE})
    write_csv(folder / INDEX, rows, INDEX_COLUMNS)
    return folder


def encoder(folder: Path, arch: str = "mobilenet_v3_small") -> Path:
    """An encoder with random weights in the layout of pretrain_encoder; returns `folder`."""
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    save_file(encoders.encoder_state(encoders.build(arch, 2)), folder / "encoder.safetensors")
    write_json(folder / "encoder.json", {"arch": arch})
    return folder


def augmentation(**changes: float) -> HairAugment:
    values = {
        "flip": 0.5, "blur": 0.2, "noise": 0.2, "jpeg": 0.2, "erase": 0.2, "grey": 0.1, "decoy": 0.2, "mosaic": 0.2,
        "zoom": 0.5, "rotation": 8.0, "scale": 0.1, "shift": 0.05, "brightness": 0.1, "contrast": 0.1,
        "saturation": 0.1, "hue": 0.05,
    }  # fmt: skip
    return HairAugment(**(values | changes))


def still() -> HairAugment:
    """Settings that change nothing."""
    return HairAugment(**dict.fromkeys(vars(augmentation()), 0.0))


def segmenter_settings(**changes: Any) -> Segmenter:
    values: dict[str, Any] = {
        "arch": "bisenet_mobilenet", "freeze": False, "epochs": 8, "batch_size": 4, "micro_batch": 4, "lr": 1e-2,
        "weight_decay": 0.01, "early_stop": 0, "boundary": 2.0, "max_steps": 0, "price_per_hour": 0.0,
        "augment": augmentation(),
    }  # fmt: skip
    return Segmenter(**(values | changes))


def runtime(max_minutes: float = 0.0) -> Runtime:
    return Runtime("cpu", 1, 1, 0, "fp32", "channels_last", True, 4.0, max_minutes)


def run(folder: Path, settings: Segmenter, limits: Runtime | None = None) -> None:
    """train_segmenter on `folder`/data and `folder`/encoder, its results in `folder`."""
    train_segmenter(
        settings, limits or runtime(), seed=3, data=folder / "data", encoder=folder / "encoder",
        resnet=folder / "resnet18.pth", out=folder / "out", metrics=folder / "hair.json", plots=folder / "plots",
    )  # fmt: skip


if __name__ == "__main__":
    tune(runtime())
    run(Path(sys.argv[1]), segmenter_settings(epochs=5))

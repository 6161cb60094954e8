"""Prepared eyes small enough to train on in a test, the settings for it, and a program that trains (for killing)."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from visage.eyes.config import Ellipse, EyeAugment, Pupil
from visage.eyes.maps import moments_ellipse, normalised, signed_distance, spatial_weights
from visage.eyes.prepared import DISTANCE, ELLIPSES, IMAGES, INDEX, INDEX_COLUMNS, LABELS, META, WEIGHTS
from visage.eyes.train_ellipse import train_ellipse
from visage.eyes.train_pupil import train_pupil
from visage.io.atomic import write_csv, write_json
from visage.runtime import Runtime, tune

HEIGHT, WIDTH = 80, 128
COUNTS = {"train": 24, "val": 6, "test": 4}


def disc(
    cx: float, cy: float, a: float, b: float, degrees: float = 0, shape: tuple[int, int] = (200, 320)
) -> np.ndarray:
    """uint8 {0, 1} of `shape`: the pixels whose centres lie in the ellipse."""
    x, y, angle = np.arange(shape[1])[None] - cx, np.arange(shape[0])[:, None] - cy, np.radians(degrees)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return ((along / a) ** 2 + (across / b) ** 2 < 1).astype(np.uint8)


def prepared(folder: Path, counts: dict[str, int] = COUNTS) -> Path:
    """Dark ellipses on noise in the layout of prepare_eyes, every seventh eye closed; returns `folder`."""
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    arrays: dict[str, list[np.ndarray]] = {name: [] for name in (IMAGES, LABELS, WEIGHTS, DISTANCE, ELLIPSES)}
    for row in range(sum(counts.values())):
        rng = np.random.default_rng((5, row))
        place, axes = rng.uniform((30, 20), (98, 60)), rng.uniform(9, 13, 2)
        label = disc(*place, *axes, shape=(HEIGHT, WIDTH)) * np.uint8(row % 7 != 3)
        arrays[IMAGES].append(np.clip(130 - 90.0 * label + rng.normal(0, 12, label.shape), 0, 255).astype(np.uint8))
        arrays[LABELS].append(np.packbits(label, axis=-1))
        arrays[WEIGHTS].append((spatial_weights(label) * 12.75).astype(np.uint8))
        distance = signed_distance(label).reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean((1, 3))
        arrays[DISTANCE].append(distance.astype(np.float16))
        arrays[ELLIPSES].append(np.array(normalised(moments_ellipse(label), label.shape), np.float32))
        split = next(name for name in counts if row < sum(list(counts.values())[: list(counts).index(name) + 1]))
        facts = (row, f"eye{row}", f"subject{row // 4}", split, int(not label.any()))
        rows.append(dict(zip(INDEX_COLUMNS, facts, strict=True)))
    for name, array in arrays.items():
        np.save(folder / name, np.stack(array))
    write_json(folder / META, {"height": HEIGHT, "width": WIDTH})
    write_csv(folder / INDEX, rows, INDEX_COLUMNS)
    return folder


def augmentation(**changes: float) -> EyeAugment:
    values = {"flip": 0.5, "lines": 0.1, "blur": 0.1, "glints": 0.2, "noise": 0.2, "clahe": 0.2, "rotation": 10.0,
              "scale": 0.1, "shift": 0.05, "gamma": 0.2, "contrast": 0.2}  # fmt: skip
    return EyeAugment(**(values | changes))


def pupil_settings(**changes: Any) -> Pupil:
    values: dict[str, Any] = {
        "variant": "micro", "epochs": 6, "batch_size": 4, "micro_batch": 4, "lr": 8e-3, "weight_decay": 0.01,
        "early_stop": 0, "alpha_epochs": 125, "alpha_after": 0.0, "dice_floor": 0.2, "surface": "clipped",
        "surface_clip": 10.0, "progressive": 1.0, "augment": augmentation(),
    }  # fmt: skip
    return Pupil(**(values | changes))


def ellipse_settings(**changes: Any) -> Ellipse:
    values: dict[str, Any] = {
        "epochs": 30, "batch_size": 4, "micro_batch": 4, "lr": 1e-2, "weight_decay": 0.01, "early_stop": 0,
        "augment": augmentation(),
    }  # fmt: skip
    return Ellipse(**(values | changes))


def runtime(max_minutes: float = 0.0) -> Runtime:
    return Runtime("cpu", 1, 1, 0, "fp32", "channels_last", True, 4.0, max_minutes)


def run_pupil(folder: Path, settings: Pupil, limits: Runtime | None = None) -> None:
    """train_pupil on `folder`/data, its results in `folder`."""
    train_pupil(
        settings, limits or runtime(), seed=3, data=folder / "data", out=folder / "out",
        metrics=folder / "pupil.json", plots=folder / "plots",
    )  # fmt: skip


def run_ellipse(folder: Path, settings: Ellipse) -> None:
    """train_ellipse on `folder`/data, its results in `folder`."""
    train_ellipse(
        settings, runtime(), seed=3, data=folder / "data", out=folder / "out", metrics=folder / "ellipse.json",
        plots=folder / "plots",
    )  # fmt: skip


if __name__ == "__main__":
    tune(runtime())
    run_pupil(Path(sys.argv[1]), pupil_settings(epochs=6))

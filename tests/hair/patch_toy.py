"""Originals of several sizes with hair to find, prepared as prepare_hair does, an encoder, and the patch stages.

Hair is a dark disc on a light, noisy ground: something that features of a random encoder tell.
"""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from features.random_networks import randomise
from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.features import encoders
from visage.hair.config import Patches, PatchHead
from visage.hair.extract_patches import extract_patches
from visage.hair.patch_manifest import PatchSet, load_patches
from visage.hair.prepared import ALPHAS, IMAGES, INDEX, INDEX_COLUMNS, META
from visage.hair.stitch import stitch_masks
from visage.hair.train_patch_head import train_patch_head
from visage.io.atomic import write_bytes, write_csv, write_json
from visage.io.images import encode_png
from visage.runtime import Runtime
from visage.vision.normalise import fit, placement

SIZE = 64  # of the prepared pictures
CARD = Preprocessing(SIZE, SIZE, IMAGENET_MEAN, IMAGENET_STD, "letterbox")
SHAPES = ((128, 96), (96, 128), (64, 64), (50, 150))
COUNTS = {"train": 12, "val": 4, "test": 4}
PATCHES = Patches(size=64, overlap=16, batch_size=4, patches_per_job=16)


def drawn(number: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(H x W x 3 uint8, H x W uint8 coverage) of picture `number`."""
    rng = np.random.default_rng((11, number))
    x, y, radius = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height, 0.35 * min(height, width)
    inside = (np.arange(width)[None] - x) ** 2 + (np.arange(height)[:, None] - y) ** 2 < radius**2
    image = np.where(inside[:, :, None], (60, 40, 30), (200, 190, 180)) + rng.normal(0, 12, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8), inside.astype(np.uint8) * np.uint8(255)


def prepared(folder: Path, counts: dict[str, int] = COUNTS) -> Path:
    """`folder`/originals and `folder`/data in prepare_hair's layout; returns `folder`."""
    images, alphas, rows = [], [], []
    splits = [name for name, count in counts.items() for _ in range(count)]
    # Black instead of grey for the labels' padding.
    black = Preprocessing(SIZE, SIZE, (0.0,), (1.0,), "letterbox", "GRAY")
    for number, split in enumerate(splits):
        height, width = SHAPES[number % len(SHAPES)]
        image, alpha = drawn(number, height, width)
        name = f"{number:02d}.png"
        write_bytes(folder / "originals" / name, encode_png(image))
        images.append(fit(image, CARD))
        alphas.append(fit(alpha, black))
        box = dict(zip(("left", "top", "width", "height"), placement(height, width, CARD), strict=True))
        facts = {
            "row": number,
            "sample_id": f"p/{number:02d}",
            "source": f"s{number // 2}",
            "split": split,
            "file": name,
        }
        sizes = {"file_height": height, "file_width": width}
        rows.append(dict.fromkeys(INDEX_COLUMNS, "") | facts | box | sizes)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    np.save(folder / "data" / IMAGES, np.stack(images))
    np.save(folder / "data" / ALPHAS, np.stack(alphas))
    write_csv(folder / "data" / INDEX, rows, INDEX_COLUMNS)
    write_json(folder / "data" / META, {"size": SIZE})
    return folder


def pretrained(folder: Path) -> Path:
    """An encoder of random weights as pretrain_encoder leaves its own, with activations of a trained one's size."""
    folder.mkdir(parents=True, exist_ok=True)
    model = randomise(encoders.build("mobilenet_v3_small", 1))
    state = {name: value.contiguous() for name, value in encoders.encoder_state(model).items()}
    save_file(state, folder / "encoder.safetensors")
    write_json(folder / "encoder.json", {"arch": "mobilenet_v3_small"})
    return folder


def head_settings(**changes: Any) -> PatchHead:
    values: dict[str, Any] = {
        "width": 16, "epochs": 8, "batch_size": 8, "micro_batch": 8, "lr": 1e-2, "weight_decay": 0.01, "early_stop": 0,
        "boundary": 1.0,
    }  # fmt: skip
    return PatchHead(**(values | changes))


def runtime(max_minutes: float = 0.0) -> Runtime:
    return Runtime("cpu", 1, 1, 0, "fp32", "channels_last", True, 4.0, max_minutes)


def run_extract(
    folder: Path, settings: Patches = PATCHES, limits: Runtime | None = None, name: str = "patches"
) -> PatchSet:
    """extract_patches on `folder`, its results in `folder`/`name`."""
    extract_patches(
        settings, limits or runtime(), data=folder / "data", root=folder / "originals", pretrained=folder / "encoder",
        out=folder / name, metrics=folder / f"{name}.json", job_root=folder / "jobs",
    )  # fmt: skip
    return load_patches(folder / name)


def run_head(folder: Path, settings: PatchHead, limits: Runtime | None = None, name: str = "head") -> None:
    """train_patch_head on `folder`, its results in `folder`/`name`."""
    train_patch_head(
        settings, limits or runtime(), seed=3, patches=folder / "patches", data=folder / "data", out=folder / name,
        metrics=folder / f"{name}.json", plots=folder / f"plots_{name}",
    )  # fmt: skip


def run_stitch(folder: Path, settings: Patches = PATCHES, name: str = "stitched") -> None:
    """stitch_masks on `folder`, its results in `folder`/`name`."""
    stitch_masks(
        settings, runtime(), seed=3, data=folder / "data", root=folder / "originals", pretrained=folder / "encoder",
        head=folder / "head", out=folder / name, metrics=folder / f"{name}.json", plots=folder / f"plots_{name}",
    )  # fmt: skip

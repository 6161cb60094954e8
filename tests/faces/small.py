"""A prepared set of faces small enough for tests, cached features of them, and the settings to train on both."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from visage.export.card import Preprocessing
from visage.faces.config import Finetune, HeadDesign, Heads
from visage.faces.evaluate import evaluate
from visage.features.table import ENCODER, FEATURES, INDEX, INDEX_COLUMNS, STATISTICS, WEIGHTS
from visage.features.timm_encoders import build_encoder
from visage.io.atomic import read_jsonl, write_bytes, write_csv, write_json, write_jsonl
from visage.io.images import encode_png, read_image
from visage.runtime import Runtime
from visage.vision.normalise import preprocess

CLASSES = ["ada", "bob", "cyd"]
SIZE = 48


def prepared(root: Path, per_split: dict[str, int] | None = None) -> Path:
    """Coloured noise in the layout of prepare_faces: the class is the colour; returns `root`."""
    rows = []
    for split, count in (per_split or {"train": 16, "val": 4, "test": 4}).items():
        for label, name in enumerate(CLASSES):
            for index in range(count):
                rng = np.random.default_rng((label, index, len(split)))
                image = rng.integers(0, 90, (SIZE, SIZE, 3), np.uint8)
                image[..., label] += 120
                path = f"{split}/{name}/{index}.png"
                write_bytes(root / path, encode_png(image))
                rows.append({"sample_id": f"{name}{split}{index}", "class": name, "split": split, "path": path})
    write_json(root / "classes.json", CLASSES)
    write_jsonl(root / "manifest.jsonl", rows)
    return root


def settings(**changes: Any) -> Finetune:
    values: dict[str, Any] = {
        "arch": "mobilenet_v3_small", "weights": "none", "weights_path": None, "freeze_ratio": 0.0,
        "unfreeze_last_blocks": None, "epochs": 2, "batch_size": 8, "micro_batch": 8, "lr": 2e-3, "weight_decay": 1e-4,
        "plateau_factor": 0.5, "plateau_patience": 3, "min_lr": 1e-7, "early_stop": 0, "flip": 0.5, "rotation": 10.0,
        "brightness": 0.1, "contrast": 0.1, "saturation": 0.1,
    }  # fmt: skip
    return Finetune(**(values | changes))


def runtime(processes: int = 1, max_minutes: float = 0.0) -> Runtime:
    return Runtime("cpu", processes, 1, 0, "fp32", "channels_last", True, 4.0, max_minutes)


def cached(folder: Path, data: Path, dim: int = 16, spread: float = 0.5, leave_out: int = 0) -> Path:
    """Made-up features of every picture of `data`: a corner for each class, and noise; returns `folder`.

    The last `leave_out` pictures have none.
    """
    rows = read_jsonl(data / "manifest.jsonl")
    rows = rows[: len(rows) - leave_out]
    rng = np.random.default_rng(5)
    corners = rng.normal(size=(len(CLASSES), dim))
    noise = spread * rng.normal(size=(len(rows), dim))
    return _table(folder, rows, corners[[CLASSES.index(row["class"]) for row in rows]] + noise, "toy")


def encoded(folder: Path, data: Path) -> Path:
    """Features of every picture of `data` by a small timm encoder of random weights, which is there too."""
    torch.manual_seed(2)
    encoder = build_encoder("mobilenetv3_small_050", "avg").eval()
    rows = read_jsonl(data / "manifest.jsonl")
    preprocessing = Preprocessing(SIZE, SIZE, (0.5,) * 3, (0.2,) * 3)
    pictures = np.stack([preprocess(read_image(data / row["path"]), preprocessing) for row in rows])
    with torch.inference_mode():
        features = encoder(torch.from_numpy(pictures)).numpy()
    folder.mkdir(parents=True)
    save_file(encoder.state_dict(), folder / WEIGHTS)
    return _table(folder, rows, features, "mobilenetv3_small_050")


def _table(folder: Path, rows: list[dict[str, str]], features: np.ndarray, encoder: str) -> Path:
    """A folder in the layout of extract_features."""
    mean, std = features.mean(0).astype(np.float32), features.std(0).astype(np.float32)
    std[std == 0] = 1
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / FEATURES, ((features - mean) / std).astype(np.float16))
    np.savez(folder / STATISTICS, mean=mean, std=std)
    index = ({"row": number, **{name: row[name] for name in INDEX_COLUMNS[1:]}} for number, row in enumerate(rows))
    write_csv(folder / INDEX, index, INDEX_COLUMNS)
    made = {"encoder": encoder, "global_pool": "avg", "dim": features.shape[1], "size": SIZE}
    write_json(folder / ENCODER, {**made, "mean": [0.5] * 3, "std": [0.2] * 3})
    return folder


def head_settings(**changes: Any) -> Heads:
    values: dict[str, Any] = {
        "designs": {"linear": HeadDesign([], 0.0), "mlp": HeadDesign([24], 0.3)}, "epochs": 6, "batch_size": 16,
        "lr": 1e-2, "weight_decay": 0.01, "noise": 0.1, "mixup": 0.2, "early_stop": 0,
    }  # fmt: skip
    return Heads(**(values | changes))


def measure(folder: Path) -> None:
    """evaluate_faces on what lies in `folder`: data, features, out (of both trainers)."""
    evaluate(
        runtime(), size=SIZE, seed=3, data=folder / "data", model=folder / "out/best_model.pth", heads=folder / "out",
        features=folder / "features", metrics=folder / "evaluate.json", plots=folder / "plots",
    )  # fmt: skip

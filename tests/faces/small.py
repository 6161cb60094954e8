"""A prepared set of faces small enough for tests, and the settings to train on it."""

from pathlib import Path
from typing import Any

import numpy as np

from visage.faces.config import Finetune
from visage.io.atomic import write_bytes, write_json, write_jsonl
from visage.io.images import encode_png
from visage.runtime import Runtime

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

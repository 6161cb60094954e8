"""A K-Hairstyle tree small enough for a test, with hair on a flat ground, and a program that prepares it (to kill)."""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from visage.inpaint.config import InpaintData, PrepareInpaint
from visage.inpaint.prepare import prepare
from visage.io.khairstyle_rings import to_rings
from visage.io.khairstyle_writer import write_sample
from visage.runtime import Runtime, tune

CURL = ("straight", "wavy", "curly", "tightly curly")
VOLUME = ("thin", "normal", "thick")
SIZE = 96
FACE = np.array([[180, 200], [330, 200], [330, 380], [180, 380]], np.float64)


def settings(**changes: Any) -> PrepareInpaint:
    values: dict[str, Any] = {
        "size": SIZE, "min_side": 64, "growth": 0.03, "detector": "none", "detector_file": "none.onnx",
        "detector_score": 0.6, "embedder": "none", "embedder_file": "none.pt", "sharpness": 0.0, "patch": 24,
        "patch_stride": 12, "patch_hair": 0.85, "patches_per_source": 6, "style": 32, "images_per_job": 2,
        "train": 0.5, "val": 0.25, "test": 0.25, "max_bad_fraction": 0.2,
    }  # fmt: skip
    return PrepareInpaint(**(values | changes))


def runtime() -> Runtime:
    return Runtime("cpu", 1, 1, 0, "fp32", "channels_last", True, 4.0, 0.0)


def portrait(number: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A picture (size x size x 3) and its hair {0, 1}: a dark arch on grey noise, another for each number."""
    rng = np.random.default_rng(number)
    image = rng.integers(120, 200, (size, size, 3), np.uint8)
    mask = np.zeros((size, size), np.uint8)
    centre = size // 2 + int(rng.integers(-4, 5))
    cv2.ellipse(mask, (centre, int(size * 0.55)), (int(size * 0.4), int(size * 0.45)), 0, 180, 360, 1, -1)
    cv2.ellipse(mask, (centre, int(size * 0.75)), (int(size * 0.16), int(size * 0.36)), 0, 0, 360, 0, -1)
    dark = rng.integers(10, 70, (size, size, 3), np.uint8)
    return np.where(mask[..., None] == 1, dark, image), mask


def put(root: Path, source: int, view: int = 1, size: int = SIZE, **others: Any) -> str:
    """One original of a source with curl and volume that follow its number; returns its path."""
    image, mask = portrait(10 * source + view, size)
    fields = {
        "basestyle": "bob", "sex": "female", "length": "bob", "color": "black",
        "natural-curl": CURL[source % 4], "hair-width": VOLUME[source % 3],
    }  # fmt: skip
    return write_sample(root, "training", f"VS{source:06d}", view, image, to_rings(mask), [FACE], fields, others)


def tree(root: Path, sources: int = 6, views: int = 2) -> Path:
    for source in range(1, sources + 1):
        for view in range(1, views + 1):
            put(root, source, view)
    return root


def label_of(root: Path, picture: str) -> Path:
    path = root / picture.replace("/images/", "/labels/")
    stem = path.stem.rpartition("-")
    return path.with_name(f"{stem[0]}_{stem[2]}.json")


def change(root: Path, picture: str, **changes: Any) -> None:
    """Change fields of an original's label; a value of ... removes one."""
    path = label_of(root, picture)
    record = json.loads(path.read_bytes())
    record = {name: value for name, value in (record | changes).items() if value is not ...}
    path.write_bytes(json.dumps(record, ensure_ascii=False).encode())


def run(folder: Path, root: Path, chosen: PrepareInpaint | None = None) -> dict[str, Any]:
    """Prepare `root` into `folder`."""
    return prepare(
        InpaintData("toy", str(root)), chosen or settings(), runtime(), seed=3, encoder=folder / "encoder",
        out=folder / "out", metrics=folder / "metrics.json", plots=folder / "plots",
    )  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


if __name__ == "__main__":
    tune(runtime())
    run(Path(sys.argv[1]), Path(sys.argv[2]))

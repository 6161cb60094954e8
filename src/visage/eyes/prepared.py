"""The prepared eyes: memory-mapped arrays of all frames, and a row of the index for each.

A frame of 400 x 640 takes 2.6 bytes a pixel: the label is one bit, the spatial weights a byte, and the signed distance,
which is smooth, is kept at half the size. So 29,500 frames take 20 GB of disk and no memory.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError

IMAGES, LABELS, WEIGHTS, DISTANCE, ELLIPSES = "images.npy", "labels.npy", "weights.npy", "distance.npy", "ellipses.npy"
INDEX, META, QUARANTINE = "index.csv", "meta.json", "quarantine.jsonl"
INDEX_COLUMNS = ("row", "sample_id", "source", "split", "empty")
# The largest spatial weight, stored as 255: RITnet's factor of edge pixels.
LARGEST_WEIGHT = 20.0


@dataclass(frozen=True)
class EyeSet:
    """All frames, N of H x W pixels, memory-mapped.

    images: N x H x W uint8, grey. labels: N x H x W/8 uint8, the pupil's bits packed along the rows. weights: N x H x W
    uint8, in units of `LARGEST_WEIGHT` / 255. distance: N x H/2 x W/2 float16, the signed distance to the other class
    in pixels of the prepared frame, negative inside; for an empty pupil the diagonal everywhere. ellipses: N x 4
    float32, (cx / W, cy / H, rx / R, ry / R), the first pixel's centre being 0 and R half the diagonal; not a number
    for an empty pupil. rows: a mapping of `INDEX_COLUMNS` for each frame; `source` is the subject and `empty` "1" for a
    closed eye.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    weights: NDArray[np.uint8]
    distance: NDArray[np.float16]
    ellipses: NDArray[np.float32]
    rows: Sequence[Mapping[str, str]]

    @property
    def height(self) -> int:
        """Pixels of a frame, downwards."""
        return self.images.shape[1]

    @property
    def width(self) -> int:
        """Pixels of a frame, across."""
        return self.images.shape[2]

    def split(self, name: str) -> NDArray[np.intp]:
        """The rows of split "train", "val" or "test", in order."""
        return np.flatnonzero([row["split"] == name for row in self.rows])

    def label(self, row: int) -> NDArray[np.uint8]:
        """The pupil's mask of a frame: H x W uint8 of {0, 1}."""
        return np.unpackbits(self.labels[row], axis=-1, count=self.width)


def half_diagonal(height: int, width: int) -> float:
    """What radii are divided by: half the diagonal in pixels (377.36 for 400 x 640)."""
    return math.hypot(height, width) / 2


def load_set(folder: Path) -> EyeSet:
    """Open what `prepare_eyes` wrote.

    Raises:
        DataError: it is not there, or its files are not of one run.
    """
    if not (folder / INDEX).is_file():
        raise DataError(f"{folder / INDEX} is not there: run prepare_eyes first (dvc repro prepare_eyes)")
    arrays = {name: np.load(folder / name, mmap_mode="r") for name in (IMAGES, LABELS, WEIGHTS, DISTANCE, ELLIPSES)}
    with open(folder / INDEX, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    meta = json.loads((folder / META).read_text(encoding="utf-8"))
    if {len(array) for array in arrays.values()} != {len(rows)} or arrays[IMAGES].shape[1:] != (
        meta["height"],
        meta["width"],
    ):
        raise DataError(f"{folder}: its arrays and its index are not of one run: run prepare_eyes again")
    return EyeSet(arrays[IMAGES], arrays[LABELS], arrays[WEIGHTS], arrays[DISTANCE], arrays[ELLIPSES], rows)

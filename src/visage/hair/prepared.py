"""The prepared hair pictures: memory-mapped arrays of all of them, and a row of the index for each.

A picture keeps its aspect: it is scaled until its longer side fills the square, and the rest is grey, as the exported
models do with what they are given. The mask is kept as coverage, one byte a pixel, so that soft labels stay soft and an
edge keeps its place to a fraction of a pixel.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError

IMAGES, ALPHAS = "images.npy", "alphas.npy"
INDEX, META, QUARANTINE = "index.csv", "meta.json", "quarantine.jsonl"
# left, top, width, height: the picture inside the square. file_height, file_width: of the original, in pixels.
INDEX_COLUMNS = (
    "row", "sample_id", "source", "split", "file", "left", "top", "width", "height", "file_width", "file_height",
    "curl", "length", "bangs", "suspicious",
)  # fmt: skip
ATTRIBUTES = ("curl", "length", "bangs")


@dataclass(frozen=True)
class HairSet:
    """All pictures, N of S x S pixels, memory-mapped.

    images: N x S x S x 3 uint8, RGB. alphas: N x S x S uint8, the share of the pixel that hair covers, 255 for all;
    0 outside the picture. rows: a mapping of `INDEX_COLUMNS` for each picture; `source` is the person, an attribute
    that is not known is "", and `suspicious` is "" or one of "empty", "nearly full", "many pieces".
    """

    images: NDArray[np.uint8]
    alphas: NDArray[np.uint8]
    rows: Sequence[Mapping[str, str]]

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.images.shape[1]

    def split(self, name: str) -> NDArray[np.intp]:
        """The rows of split "train", "val" or "test", in order."""
        return np.flatnonzero([row["split"] == name for row in self.rows])

    def mask(self, row: int) -> NDArray[np.uint8]:
        """Where hair covers at least half of the pixel: S x S uint8 of {0, 1}."""
        return (self.alphas[row] >= 128).astype(np.uint8)

    def inside(self, row: int) -> tuple[slice, slice]:
        """Rows and columns of the square that the picture fills."""
        left, top, width, height = (int(self.rows[row][key]) for key in ("left", "top", "width", "height"))
        return slice(top, top + height), slice(left, left + width)


def load_set(folder: Path) -> HairSet:
    """Open what `prepare_hair` wrote.

    Raises:
        DataError: it is not there, or its files are not of one run.
    """
    if not (folder / INDEX).is_file():
        raise DataError(f"{folder / INDEX} is not there: run prepare_hair first (dvc repro prepare_hair)")
    images, alphas = (np.load(folder / name, mmap_mode="r") for name in (IMAGES, ALPHAS))
    with open(folder / INDEX, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    size = json.loads((folder / META).read_text(encoding="utf-8"))["size"]
    if len(images) != len(rows) or images.shape[:3] != alphas.shape or images.shape[1:3] != (size, size):
        raise DataError(f"{folder}: its arrays and its index are not of one run: run prepare_hair again")
    return HairSet(images, alphas, rows)

"""What `extract_patches` writes: the manifest of all patches, and their spatial features in one memory-mapped array.

The features of a patch are one row, so that training reads them in one piece, and `features_path` names the array. The
maps' statistics over the training patches lie beside them: they are part of every head, and never measured again.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError
from visage.hair.patch_encoder import MapShape
from visage.vision.patches import Box

MANIFEST, FEATURES = "patch_manifest.v001.csv", "features.npy"
STATISTICS, META, QUARANTINE = "statistics.npz", "meta.json", "quarantine.jsonl"
# parent_image: relative to the data's root. x0 to y1: pixels of it. features_path: beside the manifest; row: of it.
COLUMNS = (
    "patch_id", "parent_image", "x0", "y0", "x1", "y1", "features_path", "row", "sample_id", "source", "split",
)  # fmt: skip


@dataclass(frozen=True)
class PatchSet:
    """All patches, N of size x size pixels.

    features: N x K float16, memory-mapped. rows: a mapping of `COLUMNS` for each. shapes: the maps that a row is made
    of. mean, std: of each channel of all maps together, float32. arch, weights_sha256: of the encoder.
    """

    features: NDArray[np.float16]
    rows: Sequence[Mapping[str, str]]
    shapes: Sequence[MapShape]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    size: int
    overlap: int
    arch: str
    weights_sha256: str

    def split(self, name: str) -> NDArray[np.intp]:
        """The rows of split "train", "val" or "test", in order."""
        return np.flatnonzero([row["split"] == name for row in self.rows])

    def box(self, row: int) -> Box:
        """Where the patch lies in its picture."""
        return Box(*(int(self.rows[row][key]) for key in ("x0", "y0", "x1", "y1")))


def load_patches(folder: Path) -> PatchSet:
    """Open what `extract_patches` wrote.

    Raises:
        DataError: it is not there, or its files are not of one run.
    """
    if not (folder / MANIFEST).is_file():
        raise DataError(f"{folder / MANIFEST} is not there: run extract_patches first (dvc repro extract_patches)")
    features = np.load(folder / FEATURES, mmap_mode="r", allow_pickle=False)
    with open(folder / MANIFEST, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    meta = json.loads((folder / META).read_text(encoding="utf-8"))
    shapes = [MapShape(**shape) for shape in meta["maps"]]
    with np.load(folder / STATISTICS, allow_pickle=False) as saved:
        mean, std = saved["mean"], saved["std"]
    values = sum(shape.values(meta["size"]) for shape in shapes)
    if features.shape != (len(rows), values) or len(mean) != sum(shape.channels for shape in shapes):
        raise DataError(
            f"{folder}: {features.shape[0]} x {features.shape[1]} features for {len(rows)} patches of {values} "
            "numbers: run extract_patches again"
        )
    return PatchSet(
        features, rows, shapes, mean, std, meta["size"], meta["overlap"], meta["arch"], meta["weights_sha256"]
    )

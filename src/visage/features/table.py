"""The cached features of one encoder: a memory-mapped float16 array, and a row of its index for each picture.

The features are standardised (less the training pictures' mean, over their standard deviation) before they become
float16, because those of some networks lie around 1e-5, where float16 has almost no digits left; the statistics are
kept, so that a model that contains the encoder can do the same.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError

FEATURES, INDEX, STATISTICS, ENCODER = "features.npy", "index.csv", "statistics.npz", "encoder.json"
WEIGHTS, QUARANTINE = "encoder.safetensors", "quarantine.jsonl"
INDEX_COLUMNS = ("row", "sample_id", "path", "split", "class")


@dataclass(frozen=True)
class FeatureTable:
    """features: N x D float16, memory-mapped, standardised. mean, std: D float32, of the features as the encoder gives.

    rows: the index, a mapping of `INDEX_COLUMNS` for each row. encoder: what made them (`encoder` and `global_pool` as
    in params.yaml, `dim`, `size` in pixels, and the normalisation's `mean` and `std`).
    """

    features: NDArray[np.float16]
    rows: Sequence[Mapping[str, str]]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    encoder: Mapping[str, Any]

    def split(self, name: str) -> NDArray[np.intp]:
        """The rows of split "train", "val" or "test", in order."""
        return np.flatnonzero([row["split"] == name for row in self.rows])


def load_table(folder: Path) -> FeatureTable:
    """Open what `extract_features` wrote.

    Raises:
        DataError: it is not there, or its files are not of one run.
    """
    if not (folder / FEATURES).is_file():
        raise DataError(f"{folder / FEATURES} is not there: run extract_features first (dvc repro extract_features)")
    features = np.load(folder / FEATURES, mmap_mode="r", allow_pickle=False)
    with open(folder / INDEX, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(folder / STATISTICS, allow_pickle=False) as saved:
        mean, std = saved["mean"], saved["std"]
    encoder = json.loads((folder / ENCODER).read_text(encoding="utf-8"))
    if features.shape != (len(rows), encoder["dim"]) or mean.shape != (encoder["dim"],):
        raise DataError(
            f"{folder}: {features.shape[0]} x {features.shape[1]} features for {len(rows)} rows and {encoder['dim']} "
            "dimensions: run extract_features again"
        )
    return FeatureTable(features, rows, mean, std, encoder)

"""The prepared faces as samples for training and evaluation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visage.errors import DataError
from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.features.samples import PictureSamples
from visage.io.atomic import read_jsonl
from visage.io.images import read_image
from visage.vision.augment import Augmentation


@dataclass(frozen=True)
class Split:
    """One split of data/processed/faces: rows of its manifest, and the index of each row's class."""

    root: Path
    rows: Sequence[dict[str, str]]
    labels: Sequence[int]

    def read(self, index: int) -> np.ndarray:
        """Picture `index`, size x size x 3 uint8 RGB."""
        return read_image(self.root / self.rows[index]["path"])

    def samples(
        self, preprocessing: Preprocessing, augmentation: Augmentation | None = None, seed: int = 0
    ) -> PictureSamples:
        """The split as (picture, class) samples."""
        return PictureSamples(self.read, [(label,) for label in self.labels], preprocessing, augmentation, seed)


def load_classes(root: Path) -> list[str]:
    """The class names in the order of the logits.

    Raises:
        DataError: prepare_faces has not run.
    """
    path = root / "classes.json"
    if not path.is_file():
        raise DataError(f"{path} is not there: run prepare_faces first (dvc repro prepare_faces)")
    return json.loads(path.read_text(encoding="utf-8"))


def load_split(root: Path, split: str, classes: Sequence[str]) -> Split:
    """The rows of `split` ("train", "val" or "test"), in the manifest's order."""
    rows = [row for row in read_jsonl(root / "manifest.jsonl") if row["split"] == split]
    return Split(root, rows, [classes.index(row["class"]) for row in rows])


def face_preprocessing(size: int) -> Preprocessing:
    """How a face becomes the network's input."""
    return Preprocessing(size, size, IMAGENET_MEAN, IMAGENET_STD)

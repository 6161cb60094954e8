"""Prepared hair pictures as samples for training: moved, spoilt and normalised as they are read.

A cap on the steps takes other pictures in every epoch rather than the same few: each epoch reads the next portion of
one shuffled order, so that the pictures are used as evenly as the cap allows.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.hair import augment
from visage.hair.config import HairAugment
from visage.hair.prepared import HairSet
from visage.training.plan import Key
from visage.vision.normalise import normalise

# Of `visage.training.rows.training_rows`.
PICTURES = ("pictures", "hair.prepare.train")
# The side of the square around a pixel in which hair and background meet, as a share of the picture's: 9 pixels of 256.
BAND = 9 / 256


class HairSamples:
    """Gives (image 3 x S x S float32 normalised, alpha S x S uint8 of 0..255, band S x S uint8 of {0, 1}, see
    `edge_band`) of pictures `rows` of `pictures`, augmented as `settings` say (None: not at all); `portion` of them an
    epoch, 0 for all."""

    def __init__(
        self,
        pictures: HairSet,
        rows: NDArray[np.intp],
        settings: HairAugment | None = None,
        seed: int = 0,
        portion: int = 0,
    ) -> None:
        self.pictures, self.rows, self.settings, self.seed = pictures, rows, settings, seed
        self.portion = min(portion or len(rows), len(rows))
        whole = self.portion == len(rows)
        # The loop shuffles each epoch by itself; an order of our own matters only where epochs read different pictures.
        self.order = np.arange(len(rows)) if whole else np.random.default_rng((seed, 2)).permutation(len(rows))
        self.preprocessing = hair_preprocessing(pictures.size)

    def __len__(self) -> int:
        return self.portion

    def resident_bytes(self) -> int:
        """Nothing: the files are mapped, and their pages are the system's."""
        return 0

    def __getitem__(self, key: Key) -> tuple[NDArray, ...]:
        epoch, index = key
        image, alpha = self._read((epoch * self.portion + index) % len(self.rows))
        if self.settings is not None:
            rng = np.random.default_rng((self.seed, epoch, index, 1))
            # Asked for before anything is drawn, so that a run without them sees the pictures that it always saw.
            if self.settings.mosaic and rng.random() < self.settings.mosaic:
                image, alpha = augment.mosaic([(image, alpha), *(self._another(rng) for _ in range(3))], rng)
            elif self.settings.zoom:
                image, alpha = augment.zoom(image, alpha, self.settings.zoom, rng)
            image, alpha = augment.move(image, alpha, self.settings, rng)
            if self.settings.decoy:
                while rng.random() < self.settings.decoy:
                    image = augment.decoy(image, alpha, *self._another(rng), rng)
            if rng.random() < self.settings.erase:
                image, alpha = augment.paste(image, alpha, *self._another(rng), rng)
            image = augment.spoil(image, self.settings, rng)
        return normalise(image, self.preprocessing), alpha, edge_band(alpha)

    def _another(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Picture and alpha of a random row."""
        return self._read(int(rng.integers(len(self.rows))))

    def _read(self, place: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        row = self.rows[self.order[place]]
        return np.array(self.pictures.images[row]), np.array(self.pictures.alphas[row])


def edge_band(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 where hair and background are within a few pixels of each other (`BAND`), else 0: S x S uint8, as `alpha`."""
    mask = (alpha >= 128).astype(np.uint8)
    side = max(3, round(BAND * alpha.shape[0]) | 1)
    square = np.ones((side, side), np.uint8)
    return np.asarray(cv2.dilate(mask, square) - cv2.erode(mask, square), np.uint8)


def hair_preprocessing(size: int) -> Preprocessing:
    """How a picture becomes the input of every hair network: its aspect kept, ImageNet's mean and deviation."""
    return Preprocessing(size, size, IMAGENET_MEAN, IMAGENET_STD, resize="letterbox")

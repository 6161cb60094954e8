"""Pictures in memory as a dataset for the training loop.

Augmentation and normalisation happen per sample with a generator seeded by (seed, epoch, sample): the same picture
comes out whichever process draws it, and whether the run was interrupted before it or not.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from visage.export.card import Preprocessing
from visage.training.plan import Key
from visage.vision.augment import Augmentation, augment
from visage.vision.normalise import preprocess

# Decoded pictures that a data set keeps in each process; what does not fit is decoded again every epoch.
CACHE_BYTES = 128 << 20


class PictureSamples:
    """`count` pictures from `read(index)` (HxWx3 uint8 RGB) with integer targets: gives (3xHxW float32, target, ...).

    `targets` has a row of integers for each picture. `augmentation` is None for validation.
    """

    def __init__(
        self,
        read: Callable[[int], np.ndarray],
        targets: Sequence[Sequence[int]],
        preprocessing: Preprocessing,
        augmentation: Augmentation | None,
        seed: int,
    ) -> None:
        self.read, self.targets, self.preprocessing = read, targets, preprocessing
        self.augmentation, self.seed = augmentation, seed
        self.cache: dict[int, np.ndarray] = {}
        self.room = CACHE_BYTES

    def __len__(self) -> int:
        return len(self.targets)

    def resident_bytes(self) -> int:
        """What the cache comes to hold, by the first picture's size."""
        return min(CACHE_BYTES, len(self) * self.picture(0).nbytes) if len(self) else 0

    def picture(self, index: int) -> np.ndarray:
        """Picture `index`, decoded once while there is room."""
        if index in self.cache:
            return self.cache[index]
        image = self.read(index)
        if image.nbytes <= self.room:
            self.room -= image.nbytes
            self.cache[index] = image
        return image

    def __getitem__(self, key: Key) -> tuple[Any, ...]:
        epoch, index = key
        image = self.picture(index)
        if self.augmentation is not None:
            image = augment(image, self.augmentation, np.random.default_rng((self.seed, epoch, index, 1)))
        return (preprocess(image, self.preprocessing), *self.targets[index])

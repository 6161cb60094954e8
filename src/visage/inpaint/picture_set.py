"""The prepared pictures at the side that a network works at, kept in memory as far as they fit.

Masks stay hard and never lose a pixel of what the bald picture invents: a pixel is painted if any part of it was.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError, DataError
from visage.inpaint.record import Row
from visage.io.images import read_image
from visage.io.rgba import read_rgba
from visage.vision.resize import resize

CACHE_BYTES = 384 << 20
Pixels = NDArray[np.uint8]


class PictureSet:
    """`rows` of the prepared set in `folder` at `size` pixels a side."""

    def __init__(self, folder: Path, rows: Sequence[Row], size: int) -> None:
        self.folder, self.rows, self.size = folder, list(rows), size
        self.kept: dict[tuple[int, str], Pixels] = {}
        self.room = CACHE_BYTES

    def __len__(self) -> int:
        return len(self.rows)

    def resident_bytes(self) -> int:
        """What the cache comes to hold: picture, bald picture and two masks of each row."""
        return min(CACHE_BYTES, len(self.rows) * 8 * self.size * self.size)

    def image(self, index: int) -> Pixels:
        """The picture, S x S x 3."""
        return self._kept(index, "image")

    def bald(self, index: int) -> Pixels:
        """The bald picture, S x S x 3."""
        return self._kept(index, "bald")

    def paint(self, index: int) -> Pixels:
        """What is to be painted, S x S of {0, 1}: never less than the bald picture invents."""
        return self._kept(index, "mask")

    def hair(self, index: int) -> Pixels:
        """Where hair is, S x S of {0, 1}."""
        return self._kept(index, "hair_only")

    def _kept(self, index: int, field: str) -> Pixels:
        if (index, field) in self.kept:
            return self.kept[index, field]
        path = self.folder / getattr(self.rows[index], field)
        try:
            pixels = self._read(path, field)
        except BadImageError as error:
            # A blank in its place would teach nothing, silently.
            raise DataError(f"{error}: run prepare_inpaint again") from None
        if pixels.nbytes <= self.room:
            self.kept[index, field] = pixels
            self.room -= pixels.nbytes
        return pixels

    def _read(self, path: Path, field: str) -> Pixels:
        if field == "hair_only":
            return (resize(np.ascontiguousarray(read_rgba(path)[..., 3]), self.size, self.size) >= 128).astype(np.uint8)
        image = read_image(path)
        if field == "mask":
            return (resize(image, self.size, self.size)[..., 0] > 0).astype(np.uint8)
        return resize(image, self.size, self.size)


def to_signed(pixels: Pixels) -> NDArray[np.float32]:
    """H x W x 3 uint8 -> 3 x H x W float32 in [-1, 1]."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)


def from_signed(values: NDArray[np.float32]) -> Pixels:
    """3 x H x W in [-1, 1], clipped -> H x W x 3 uint8."""
    scaled = np.rint((np.clip(values, -1, 1) + 1) * 127.5)
    return np.ascontiguousarray(scaled.transpose(1, 2, 0)).astype(np.uint8)

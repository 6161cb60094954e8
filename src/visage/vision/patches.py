"""Pictures of any size as overlapping square patches, and patch answers blended back into a picture, row by row.

The patches of a picture are a grid, so a patch's blending weight is a product of one number for its row and one for its
column. Both are normalised before anything is blended: no map of weights is kept, a pixel that one patch covers gets
that patch's answer to the bit, and what is in memory is one strip of patch height x picture width.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Answer = NDArray[np.float32]


class Box(NamedTuple):
    """Columns x0 to x1 - 1 and rows y0 to y1 - 1 of a picture, in pixels."""

    x0: int
    y0: int
    x1: int
    y1: int


def starts(length: int, size: int, overlap: int) -> list[int]:
    """Where patches of `size` begin along an axis of `length` pixels (at least 1), in rising order from 0.

    Neighbours share `overlap` pixels; the last patch ends with the axis and may share more. An axis that is shorter
    than a patch has one, which sticks out.

    Raises:
        ValueError: no pixels, or an overlap that is not in [0, size).
    """
    if length < 1 or not 0 <= overlap < size:
        raise ValueError(f"{length} pixels in patches of {size} with overlap {overlap}: use 0 <= overlap < size")
    last = max(0, length - size)
    return [*range(0, last, size - overlap), last]


def grid(height: int, width: int, size: int, overlap: int) -> list[Box]:
    """The patches of a height x width picture, row after row; boxes end at the picture's borders.

    Raises:
        ValueError: as `starts`.
    """
    return [
        Box(x0, y0, min(x0 + size, width), min(y0 + size, height))
        for y0 in starts(height, size, overlap)
        for x0 in starts(width, size, overlap)
    ]


def cut(image: NDArray[np.uint8], box: Box, size: int, fill: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The box of `image` (H x W x 3) as size x size x 3; beyond its right and lower end is `fill` (3 numbers)."""
    part = image[box.y0 : box.y1, box.x0 : box.x1]
    if part.shape[:2] == (size, size):
        return part
    patch = np.empty((size, size, 3), np.uint8)
    patch[:] = fill
    patch[: part.shape[0], : part.shape[1]] = part
    return patch


def window(size: int) -> NDArray[np.float64]:
    """A raised cosine (Hann) over `size` pixels, above 0 at all of them: sin^2(pi (i + 1/2) / size)."""
    return np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2


def weights(length: int, size: int, overlap: int) -> NDArray[np.float32]:
    """The blending weights of an axis, patches x size: those of a pixel sum to 1 (to rounding); 0 beyond the axis."""
    begins = starts(length, size, overlap)
    total = np.zeros(max(length, size))
    for begin in begins:
        total[begin : begin + size] += window(size)
    shares = np.stack([window(size) / total[begin : begin + size] for begin in begins])
    shares[:, length:] = 0
    return shares.astype(np.float32)


class RowStitcher:
    """Blends the answers to the patches of `grid` into rows of the picture, holding one strip of them."""

    def __init__(self, height: int, width: int, size: int, overlap: int) -> None:
        self.size, self.width = size, width
        self.tops, self.lefts = starts(height, size, overlap), starts(width, size, overlap)
        self.down, self.across = weights(height, size, overlap), weights(width, size, overlap)
        # Rows that are complete once a row of patches is: up to where the next begins, or the picture ends.
        ends = [*self.tops[1:], height]
        self.complete = [end - top for top, end in zip(self.tops, ends, strict=True)]
        self.strip = np.zeros((size, max(width, size)), np.float32)
        self.count = 0

    @property
    def done(self) -> bool:
        """Whether every row has been given back."""
        return self.count == len(self.tops) * len(self.lefts)

    def add(self, answer: Answer) -> Answer | None:
        """Take the next answer in the order of `grid`, size x size float32.

        Returns:
            After the last patch of a row of patches the rows of the picture that are now complete, h x width float32,
            which follow on those given back before; None after all others.
        """
        assert answer.shape == (self.size, self.size) and not self.done, answer.shape
        row, column = divmod(self.count, len(self.lefts))
        left = self.lefts[column]
        part = answer * self.down[row][:, None]
        part *= self.across[column]
        self.strip[:, left : left + self.size] += part
        self.count += 1
        if column < len(self.lefts) - 1:
            return None
        rows = self.complete[row]
        finished = self.strip[:rows, : self.width].copy()
        self.strip[: self.size - rows] = self.strip[rows:]
        self.strip[self.size - rows :] = 0
        return finished

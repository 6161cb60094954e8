"""Views of hair for the texture encoder: parts of the picture at its own scale, grey and of even contrast.

Colour and light tell people apart and say nothing of curl or width: with them an encoder learns its few hundred people
by heart (docs/LOG.md). Parts are not brought to the hair's size first, since a strand's width would go with it. A view
is a pure function of (seed, epoch, index), so that an interrupted run sees the same ones, and shows nothing but hair:
what is not hair is one grey.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError, DataError
from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.inpaint.prompt import CURLS, MISSING
from visage.inpaint.record import Row
from visage.io.rgba import read_rgba
from visage.training.plan import Key
from visage.vision.augment import Augmentation, augment
from visage.vision.normalise import normalise
from visage.vision.resize import resize

VIEWS = 2
SPREAD = 0.2  # of a part's size about `texture.part`
AUGMENTATION = Augmentation(rotation=12.0, brightness=0.1, contrast=0.2, saturation=0.0, scale=0.0, shift=0.0)
TRIES = 24  # at finding a part that shows hair
GROUND = 128  # grey where there is no hair, and the mean of what is
SWING = 48.0  # grey levels that a standard deviation of the brightness becomes
REACH = 0.025  # of the neighbourhood whose mean and deviation are evened out, as a share of the side
LEAST_SWING = 2.0  # grey levels: what deviates less is noise
# Prepared pictures that each data set keeps, a thousand of 512 pixels; what does not fit is read and evened out again,
# which takes longer than the network does.
CACHE_BYTES = 640 << 20

Pixels = NDArray[np.uint8]


class TextureSamples:
    """Pictures in two views each: (views 2 x 3 x S x S float32, curl, volume).

    With `balanced`, index i stands for a picture of curl i modulo 4, drawn anew in each epoch, so that every curl comes
    up equally often; pictures without a curl come up as often as there are such. Without, every picture once. part: the
    side of a view as a share of the picture's.
    """

    def __init__(self, folder: Path, rows: Sequence[Row], size: int, part: float, seed: int, balanced: int = 0) -> None:
        self.folder, self.rows, self.size, self.part = folder, list(rows), size, part
        self.seed, self.balanced = seed, balanced
        of = [[index for index, row in enumerate(rows) if row.curl == curl] for curl in (*range(len(CURLS)), MISSING)]
        *known, self.unknown = of
        self.classes = [indices for indices in known if indices]
        self.preprocessing = Preprocessing(size, size, IMAGENET_MEAN, IMAGENET_STD)
        self.cache: dict[int, tuple[Pixels, Pixels]] = {}
        self.room = CACHE_BYTES

    def __len__(self) -> int:
        return self.balanced or len(self.rows)

    def resident_bytes(self) -> int:
        """What the cache comes to hold."""
        if not self.rows:
            return 0
        return min(CACHE_BYTES, len(self.rows) * sum(plane.nbytes for plane in self.strands(0)))

    def __getitem__(self, key: Key) -> tuple[NDArray[np.float32], int, int]:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index, 2))
        row = self._pick(index, rng) if self.balanced else index
        views = [self._view(row, rng, spoil=bool(self.balanced)) for _ in range(VIEWS)]
        return np.stack(views), self.rows[row].curl, self.rows[row].volume

    def looks(self, row: int, count: int) -> NDArray[np.float32]:
        """`count` parts of a picture for measuring, the same whenever it is asked: count x 3 x S x S float32."""
        rng = np.random.default_rng((self.seed, row, 3))
        return np.stack([self._view(row, rng, spoil=False) for _ in range(count)])

    def strands(self, row: int) -> tuple[Pixels, Pixels]:
        """The hair of a picture as `even_strands` gives it; the first ones are kept."""
        if row in self.cache:
            return self.cache[row]
        path = self.folder / self.rows[row].hair_only
        try:
            planes = even_strands(read_rgba(path))
        except BadImageError as error:
            # A blank in its place would teach nothing, silently.
            raise DataError(f"{error}: run prepare_inpaint again") from None
        size = sum(plane.nbytes for plane in planes)
        if size <= self.room:
            self.cache[row] = planes
            self.room -= size
        return planes

    def _pick(self, index: int, rng: np.random.Generator) -> int:
        """The row that balanced index `index` stands for."""
        told = self.classes and rng.random() * len(self.rows) >= len(self.unknown)
        return int(rng.choice(self.classes[index % len(self.classes)] if told else self.unknown))

    def _view(self, row: int, rng: np.random.Generator, spoil: bool) -> NDArray[np.float32]:
        share = self.part * rng.uniform(1 - SPREAD, 1 + SPREAD)
        part = hairy_part(*self.strands(row), share, rng)
        view = np.repeat(resize(part, self.size, self.size)[..., None], 3, axis=2)
        if spoil:
            view = augment(view[:, ::-1] if rng.random() < 0.5 else view, AUGMENTATION, rng)
        return normalise(np.ascontiguousarray(view), self.preprocessing)


def even_strands(hair: Pixels) -> tuple[Pixels, Pixels]:
    """RGBA of hair alone, H x W x 4 -> its strands, H x W uint8 (`GROUND` where there is none, and on average), and
    where there is hair, H x W of {0, 1}: brightness less its mean over the neighbourhood's hair, over its deviation
    there (local contrast normalisation, Jarrett et al., ICCV 2009)."""
    there = (hair[..., 3] != 0).astype(np.float32)
    grey = cv2.cvtColor(np.ascontiguousarray(hair[..., :3]), cv2.COLOR_RGB2GRAY).astype(np.float32)
    reach = REACH * len(hair)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        blurred = cv2.GaussianBlur(values * there, (0, 0), reach)
        return (blurred / near).astype(np.float32)

    near = cv2.GaussianBlur(there, (0, 0), reach) + 1e-3
    apart = (grey - mean(grey)) * there
    deviation = np.sqrt(mean(apart * apart)) + LEAST_SWING
    even = np.clip(GROUND + SWING * apart / deviation, 0, 255)
    return np.where(there != 0, even, GROUND).astype(np.uint8), there.astype(np.uint8)


def hairy_part(strands: Pixels, there: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """A square of `share` of the side with the most hair of `TRIES` places."""
    side = min(len(strands), max(1, round(share * len(strands))))
    total = cv2.integral(there)
    corners = rng.integers(0, len(strands) - side + 1, (TRIES, 2))
    y, x = corners[:, 0], corners[:, 1]
    covered = total[y + side, x + side] - total[y, x + side] - total[y + side, x] + total[y, x]
    top, left = corners[int(np.argmax(covered))]
    return strands[top : top + side, left : left + side]


def thumbnail(folder: Path, row: Row, side: int) -> Pixels:
    """The style image over white, side x side RGB, for pictures of the embedding."""
    style = read_rgba(folder / row.style)
    shown = np.where(style[..., 3:] != 0, style[..., :3], np.uint8(255))
    return resize(shown, side, side)

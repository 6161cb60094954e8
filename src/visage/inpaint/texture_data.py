"""Views of hair for the texture encoder: parts of the style image or of patches.

A view is a random part of a patch, moved and spoilt a little; it is a pure function of (seed, epoch, index, view), so
that an interrupted run sees the same ones. No view holds anything but hair: what a style image does not cover is one
grey.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError
from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.inpaint.prompt import CURLS, MISSING
from visage.inpaint.record import Row
from visage.io.images import read_image
from visage.io.rgba import read_rgba
from visage.training.plan import Key
from visage.vision.augment import Augmentation, augment
from visage.vision.normalise import normalise
from visage.vision.resize import resize

VIEWS = 2
# Parts of a patch that a view shows, as shares of its side: never so little that a curl does not fit.
LEAST, MOST = 0.7, 1.0
# Of a style image: the outline of the hair tells as much as its strands.
STYLE_LEAST = 0.5
GROUND = 128  # grey where a style image shows no hair
AUGMENTATION = Augmentation(rotation=15.0, brightness=0.2, contrast=0.2, saturation=0.2, scale=0.0, shift=0.0)
TRIES = 8  # at finding a part of the style image that shows hair

Pixels = NDArray[np.uint8]


class TextureSamples:
    """Pictures in two views each: (views 2 x 3 x S x S float32, curl, volume).

    With `balanced`, index i stands for a picture of curl i modulo 4, drawn anew in each epoch, so that every curl comes
    up equally often; pictures without a curl come up like a class of their own. Without, every picture once, as it is
    and mirrored. style: the share of views that show the style image; a picture without patches has no others.
    """

    def __init__(
        self, folder: Path, rows: Sequence[Row], size: int, style: float, seed: int, balanced: int = 0
    ) -> None:
        self.folder, self.rows, self.size, self.seed, self.balanced = folder, list(rows), size, seed, balanced
        self.style = style
        of = {
            curl: [index for index, row in enumerate(rows) if row.curl == curl]
            for curl in (*range(len(CURLS)), MISSING)
        }
        self.classes = [indices for indices in of.values() if indices]
        self.preprocessing = Preprocessing(size, size, IMAGENET_MEAN, IMAGENET_STD)

    def __len__(self) -> int:
        return self.balanced or len(self.rows)

    def resident_bytes(self) -> int:
        """Nothing: pictures are read when they are needed."""
        return 0

    def __getitem__(self, key: Key) -> tuple[NDArray[np.float32], int, int]:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index, 2))
        if self.balanced:
            row = self.rows[int(rng.choice(self.classes[index % len(self.classes)]))]
            views = [self._spoilt(row, rng) for _ in range(VIEWS)]
        else:
            row = self.rows[index]
            views = plain_views(self.folder, row, self.style, VIEWS)[:VIEWS]
        tensors = [normalise(resize(view, self.size, self.size), self.preprocessing) for view in views]
        return np.stack(tensors), row.curl, row.volume

    def _spoilt(self, row: Row, rng: np.random.Generator) -> Pixels:
        if row.patches and rng.random() >= self.style:
            patch = read_view(self.folder / str(rng.choice(row.patches)))
            part = random_part(patch, rng.uniform(LEAST, MOST), rng)
        else:
            part = style_part(over_grey(read_rgba(self.folder / row.style)), rng)
        if rng.random() < 0.5:
            part = np.ascontiguousarray(part[:, ::-1])
        return augment(resize(part, self.size, self.size), AUGMENTATION, rng)


def plain_views(folder: Path, row: Row, style: float, at_most: int) -> list[Pixels]:
    """What measuring looks at: the style image and its mirror image, or up to `at_most` patches where `style` is 0 and
    there are any."""
    if row.patches and style == 0:
        step = max(1.0, len(row.patches) / at_most)
        chosen = [row.patches[int(place * step)] for place in range(min(at_most, len(row.patches)))]
        views = [read_view(folder / patch) for patch in chosen]
        return views if len(views) > 1 else [views[0], np.ascontiguousarray(views[0][:, ::-1])]
    whole = over_grey(read_rgba(folder / row.style))
    return [whole, np.ascontiguousarray(whole[:, ::-1])]


def read_view(path: Path) -> Pixels:
    """A patch; a file that cannot be read stops the run, since a blank in its place would teach nothing silently.

    Raises:
        DataError: names the file.
    """
    try:
        return read_image(path)
    except Exception as error:
        raise DataError(f"{path}: {error}: run prepare_inpaint again") from None


def random_part(picture: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """A square of `share` of the picture's side, anywhere in it."""
    side = max(1, round(share * len(picture)))
    y, x = rng.integers(0, len(picture) - side + 1, 2)
    return picture[y : y + side, x : x + side]


def style_part(whole: Pixels, rng: np.random.Generator) -> Pixels:
    """A square part of a style image over grey with the most hair of `TRIES` places."""
    share = rng.uniform(STYLE_LEAST, MOST)
    tries = [random_part(whole, share, rng) for _ in range(TRIES)]
    return max(tries, key=lambda part: np.count_nonzero(part != GROUND))


def over_grey(style: Pixels) -> Pixels:
    """A style image, RGBA, over grey: RGB."""
    return np.where(style[..., 3:] != 0, style[..., :3], np.uint8(GROUND))


def thumbnail(folder: Path, row: Row, side: int) -> Pixels:
    """The style image over white, side x side RGB, for pictures of the embedding."""
    style = read_rgba(folder / row.style)
    shown = np.where(style[..., 3:] != 0, style[..., :3], np.uint8(255))
    return cv2.resize(shown, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)

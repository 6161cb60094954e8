"""Prepared eyes as samples for training and evaluation: moved, spoilt and normalised as they are read.

Nothing is kept: the frames are mapped, and a frame's augmentation is a pure function of (seed, epoch, frame), the same
in whichever process and after whatever interruption.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visage.export.card import Preprocessing
from visage.eyes import augment
from visage.eyes.config import EyeAugment
from visage.eyes.prepared import EyeSet, half_diagonal
from visage.training.plan import Key
from visage.vision.normalise import normalise

Pixels = NDArray[np.uint8]
# Of `visage.training.rows.training_rows`.
FRAMES = ("frames", "eyes.prepare.train")


@dataclass(frozen=True)
class Drawn:
    """A frame as it goes into training: its row, image H x W uint8, label as stored, ellipse as moved (not a number
    where no pupil is left in the frame), and the matrix it was moved by."""

    row: int
    image: Pixels
    label: Pixels
    ellipse: NDArray[np.float32]
    matrix: NDArray[np.float64]


class EyeSamples:
    """Frames `rows` of `eyes`, augmented as `settings` say (None: not at all); subclasses say what a sample holds."""

    def __init__(self, eyes: EyeSet, rows: NDArray[np.intp], settings: EyeAugment | None = None, seed: int = 0) -> None:
        self.eyes, self.rows, self.settings, self.seed = eyes, rows, settings, seed
        self.preprocessing = eye_preprocessing(eyes.height, eyes.width)

    def __len__(self) -> int:
        return len(self.rows)

    def resident_bytes(self) -> int:
        """Nothing: the files are mapped, and their pages are the system's."""
        return 0

    def draw(self, key: Key) -> Drawn:
        """The frame at `key` (epoch, index)."""
        epoch, index = key
        row, eyes = int(self.rows[index]), self.eyes
        image, label, ellipse = np.array(eyes.images[row]), eyes.label(row), np.array(eyes.ellipses[row])
        if self.settings is None:
            return Drawn(row, image, label, ellipse, augment.IDENTITY)
        rng = np.random.default_rng((self.seed, epoch, index, 1))
        matrix = augment.draw_motion(eyes.height, eyes.width, self.settings, rng)
        ellipse = augment.move_ellipse(ellipse, label, matrix)
        centre = None
        if np.isfinite(ellipse).all():
            centre = float(ellipse[0]) * eyes.width, float(ellipse[1]) * eyes.height
        image = augment.spoil(augment.move_image(image, matrix), centre, self.settings, rng)
        return Drawn(row, image, label, ellipse, matrix)


class PupilSamples(EyeSamples):
    """Gives (image 1 x H x W float32, label H x W uint8, weights H x W uint8 as stored, distance H x W float32)."""

    def __getitem__(self, key: Key) -> tuple[NDArray, ...]:
        drawn, eyes = self.draw(key), self.eyes
        label, weights = drawn.label, np.array(eyes.weights[drawn.row])
        distance = augment.move_distance(eyes.distance[drawn.row], drawn.matrix)
        if self.settings is not None:
            label, weights = (augment.move_label(label, drawn.matrix), augment.move_weights(weights, drawn.matrix))
        if not label.any():
            # As an empty frame has it, whatever the scale, and where the pupil was moved out of the frame.
            distance[:] = 2 * half_diagonal(eyes.height, eyes.width)
        return normalise(drawn.image, self.preprocessing), label, weights, distance


class EllipseSamples(EyeSamples):
    """Gives (image 1 x H x W float32, ellipse of 4 float32, not a number without a pupil)."""

    def __getitem__(self, key: Key) -> tuple[NDArray, ...]:
        drawn = self.draw(key)
        return normalise(drawn.image, self.preprocessing), drawn.ellipse


def eye_preprocessing(height: int, width: int) -> Preprocessing:
    """How a frame becomes the network's input: grey, (x / 255 - 0.5) / 0.5."""
    return Preprocessing(height, width, (0.5,), (0.5,), colour="GRAY")

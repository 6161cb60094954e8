"""Training augmentation: one affine warp and one colour matrix for each picture, as a pure function of a generator.

Flip and rotation are one `cv2.warpAffine`; brightness, contrast and saturation (torchvision's ColorJitter, in that
order) are linear in RGB and so one `cv2.transform`. That takes 0.16 - 0.28 of the time of the torchvision transforms
(benchmarks/pictures.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

# ITU-R BT.601 luma, the grey that torchvision's colour operations blend with.
LUMA = np.array([0.299, 0.587, 0.114], np.float64)


@dataclass(frozen=True)
class Augmentation:
    """flip: a probability. rotation: degrees either way. The others: strength s, a factor in [1-s, 1+s]."""

    flip: float = 0.5
    rotation: float = 10.0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    scale: float = 0.0
    shift: float = 0.0


def augment(image: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A randomly moved and recoloured copy of `image` (HxWx3 uint8 RGB), of the same shape and type."""
    return augment_with(image, (), settings, rng)[0]


def augment_with(
    image: np.ndarray, maps: Sequence[np.ndarray], settings: Augmentation, rng: np.random.Generator
) -> list[np.ndarray]:
    """`augment`, and after it each of `maps` (HxW, e.g. a mask as 0..255) moved by the same matrix."""
    matrix = random_affine(image.shape[1], image.shape[0], settings, rng)
    size = image.shape[1], image.shape[0]
    picture, *moved = (
        cv2.warpAffine(value, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        for value in (image, *maps)
    )
    return [cv2.transform(picture, random_colour(picture, settings, rng)), *moved]


def random_affine(width: int, height: int, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A 2x3 matrix that rotates and scales about the centre, shifts, and perhaps mirrors; it also moves points."""
    angle = rng.uniform(-settings.rotation, settings.rotation)
    zoom = 1 + rng.uniform(-settings.scale, settings.scale)
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, angle, zoom)
    matrix[:, 2] += rng.uniform(-settings.shift, settings.shift, 2) * np.array((width, height))
    if rng.random() < settings.flip:
        matrix[0] = -matrix[0]
        matrix[0, 2] += width - 1
    return matrix


def random_colour(image: np.ndarray, settings: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A 3x4 matrix for `cv2.transform`: brightness, then contrast about the mean grey, then saturation."""
    bright, contrast, saturation = (
        1 + rng.uniform(-strength, strength)
        for strength in (settings.brightness, settings.contrast, settings.saturation)
    )
    mean_grey = bright * float(LUMA @ cv2.mean(image)[:3])
    linear = saturation * np.eye(3) + (1 - saturation) * LUMA
    # The offset is grey, and saturation leaves grey as it is.
    offset = np.full((3, 1), (1 - contrast) * mean_grey)
    return np.hstack([bright * contrast * linear, offset])

"""Hair of another colour: more of what little data cannot show, so that a network learns to take colour from the style.

People's hair is mostly dark; trained on it as it comes, a network paints dark hair whatever it is told.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.vision.recolor import to_lab

# Of the mean colour, L*, a* and b*: wider than any hair that grows.
LOWEST, HIGHEST = np.array([10, -12, -15]), np.array([88, 38, 45])
DARKEST, LIGHTEST = 2.0, 98.0
Pixels = NDArray[np.uint8]


def draw_tint(hair: Pixels, rng: np.random.Generator) -> NDArray[np.float32]:
    """What to add to L*, a* and b* of hair alone (H x W x 4 RGBA, some hair in it) for a mean drawn evenly."""
    mean = to_lab(np.ascontiguousarray(hair[..., :3]))[hair[..., 3] != 0].mean(0)
    return (rng.uniform(LOWEST, HIGHEST) - mean).astype(np.float32)


def tint(image: Pixels, cover: NDArray[np.floating[Any]], shift: NDArray[np.float32]) -> Pixels:
    """`image` (H x W x 3 RGB) with `shift` added to its L*, a*, b* where `cover` (H x W of 0 to 1) says so."""
    lab = to_lab(image) + shift
    lab[..., 0] = lab[..., 0].clip(DARKEST, LIGHTEST)
    shifted = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB).clip(0, 1) * 255
    mixed = image + (shifted - image) * cover[..., None]
    return np.where(cover[..., None] > 0, np.rint(mixed), image).astype(np.uint8)

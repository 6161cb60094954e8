"""Hair in another colour: its mean moves to the target in CIE LAB, what is not hair keeps its bytes.

Every strand keeps its distance in lightness from the mean, scaled down only on the side where the target leaves less
room, so that nothing is clipped flat. The new colour is laid over the picture in RGB and not mixed in LAB: each channel
then moves one way as the intensity grows, and a pixel of alpha 0 needs no conversion that could change it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import VisageError
from visage.runtime import check_ranges
from visage.vision.palette import Color

INTENSITY = 0.8
# Pixels at a time: the float pictures of a band stay in the processor's cache.
BAND = 1 << 16
# Pixels of a regular grid that the mean is taken of, in larger pictures.
SAMPLES = 1 << 16


@dataclass(frozen=True)
class Recipe:
    """How hair is recoloured.

    dead, full: alpha is 0 up to a coverage of `dead` and 1 from `full` on; of a network's soft edge this leaves out the
    part that lies on skin and background. lightness: share of the way from the hair's mean L* to the target's at full
    intensity. chroma: share of each pixel's distance from the mean a*, b* that stays.

    Raises:
        ConfigError: a value outside its range.
    """

    dead: float = 0.5
    full: float = 0.9
    lightness: float = 1.0
    chroma: float = 0.3

    def __post_init__(self) -> None:
        check_ranges("recipe", self, {"dead": (0, 0.99), "lightness": (0, 1), "chroma": (0, 1)})
        check_ranges("recipe", self, {"full": (self.dead + 0.01, 1)})


DEFAULT = Recipe()


def recolor(
    image: NDArray[np.uint8],
    coverage: NDArray[np.uint8] | NDArray[np.float32],
    target: Color,
    *,
    intensity: float = INTENSITY,
    skin: NDArray[np.uint8] | NDArray[np.float32] | None = None,
    recipe: Recipe = DEFAULT,
) -> NDArray[np.uint8]:
    """The picture with its hair in the colour `target`.

    Args:
        image: HxWx3 uint8 RGB.
        coverage: HxW, how much of a pixel is hair: float of 0 to 1, or uint8 of 0 to 255.
        intensity: 0 (nothing changes) to 1 (the hair's mean is the target).
        skin: HxW as `coverage`, where skin is known: it is never coloured.

    Returns:
        HxWx3 uint8, a new array; the same bytes as `image` where `hair_alpha` is 0.

    Raises:
        VisageError: intensity is outside 0 to 1, the sizes differ, or a uint8 mask is of 0 and 1.
    """
    check_intensity(intensity)
    assert image.dtype == np.uint8 and image.shape[2:] == (3,), (image.dtype, image.shape)
    check_mask("mask", coverage, image)
    if skin is not None:
        check_mask("skin mask", skin, image)
    out = image.copy()
    box = hair_box(coverage, recipe)
    if intensity == 0 or box is None:
        return out
    rows, columns = box
    part, alpha = out[rows, columns], hair_alpha(coverage[box], None if skin is None else skin[box], recipe)
    mean = hair_mean(part, alpha)
    if mean is None:
        return out
    band = max(1, BAND // alpha.shape[1])
    for top in range(0, len(alpha), band):
        lines = slice(top, top + band)
        part[lines] = _lay_over(part[lines], alpha[lines], mean, target, np.float32(intensity), recipe)
    return out


def check_intensity(intensity: float) -> None:
    """Refuse an intensity that is not from 0 to 1.

    Raises:
        VisageError: it is not.
    """
    if not 0 <= intensity <= 1:
        raise VisageError(f"intensity={intensity:g}: it must be from 0 (unchanged) to 1 (wholly the new colour)")


def check_mask(name: str, mask: NDArray[np.uint8] | NDArray[np.float32], image: NDArray[np.uint8]) -> None:
    """Refuse coverage that cannot be that of `image`; `name` is what the message calls it.

    Raises:
        VisageError: it has another size, or is a uint8 mask of 0 and 1.
    """
    if mask.shape != image.shape[:2]:
        raise VisageError(f"{name}: is {_size(mask)} pixels, the picture {_size(image)}: give one of its size")
    if mask.dtype == np.uint8 and mask.size and mask.max() == 1:
        raise VisageError(f"{name}: has the values 0 and 1, of 255: give 0 and 255, or floats")


def hair_alpha(
    coverage: NDArray[np.uint8] | NDArray[np.float32],
    skin: NDArray[np.uint8] | NDArray[np.float32] | None,
    recipe: Recipe = DEFAULT,
) -> NDArray[np.float32]:
    """How far each pixel is recoloured, HxW float32 of 0 to 1: coverage less skin, behind the dead zone.

    With the default recipe a pixel that is skin by half or more is never coloured, whatever its coverage.
    """
    share = _unit(coverage)
    if skin is not None:
        share = share * (1 - _unit(skin))
    return np.clip((share - np.float32(recipe.dead)) / np.float32(recipe.full - recipe.dead), 0, 1, dtype=np.float32)


def hair_box(coverage: NDArray[np.uint8] | NDArray[np.float32], recipe: Recipe = DEFAULT) -> tuple[slice, slice] | None:
    """Rows and columns that hold every pixel above the dead zone, None where there is none."""
    level = recipe.dead * 255 if coverage.dtype == np.uint8 else recipe.dead
    left, top, width, height = cv2.boundingRect((coverage > level).view(np.uint8))
    return (slice(top, top + height), slice(left, left + width)) if width else None


def hair_mean(image: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """The mean L*, a*, b* of the pixels weighted by alpha, None where alpha is 0 everywhere."""
    step = max(1, round((alpha.size / SAMPLES) ** 0.5))
    if not alpha[::step, ::step].any():
        step = 1
    weights = alpha[::step, ::step].astype(np.float64)
    total = weights.sum()
    if total == 0:
        return None
    colours = to_lab(np.ascontiguousarray(image[::step, ::step]))
    return np.array([(plane * weights).sum() for plane in cv2.split(colours)]) / total


def to_lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """HxWx3 uint8 RGB -> L* of 0 to 100, a*, b*, float32; within 0.1 of `palette.srgb_to_lab`."""
    return np.asarray(cv2.cvtColor(cv2.LUT(image, _LINEAR), cv2.COLOR_LRGB2LAB), np.float32)


def _lay_over(
    image: NDArray[np.uint8],
    alpha: NDArray[np.float32],
    mean: NDArray[np.float64],
    target: Color,
    intensity: np.float32,
    recipe: Recipe,
) -> NDArray[np.uint8]:
    lab = to_lab(image)
    old, new = float(mean[0]), float(mean[0] + recipe.lightness * (target.lab[0] - mean[0]))
    below, above = min(1.0, new / max(old, 1e-3)), min(1.0, (100 - new) / max(100 - old, 1e-3))
    rest = lab[..., 0] - np.float32(old)
    lightness = cv2.addWeighted(np.minimum(rest, 0), below, np.maximum(rest, 0), above, new)
    keep = recipe.chroma
    shift = [target.lab[axis] - keep * mean[axis] for axis in (1, 2)]
    moved = cv2.transform(lab, np.array([[0, 0, 0, 0], [0, keep, 0, shift[0]], [0, 0, keep, shift[1]]], np.float32))
    cv2.insertChannel(lightness, moved, 0)
    full = np.asarray(cv2.cvtColor(moved, cv2.COLOR_LAB2RGB), np.float32)
    full *= 255
    np.clip(full, 0, 255, out=full)
    # Three equal planes of the weight: numpy is ten times slower at spreading one over three channels.
    full -= image
    full *= cv2.cvtColor(alpha * intensity, cv2.COLOR_GRAY2RGB)
    full += image
    return np.rint(full, out=full).astype(np.uint8)


def _unit(mask: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    return mask.astype(np.float32) / np.float32(255) if mask.dtype == np.uint8 else mask.astype(np.float32, copy=False)


def _size(array: NDArray[np.generic]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"


def _linear_light() -> NDArray[np.float32]:
    """sRGB's transfer function (IEC 61966-2-1) for each of the 256 values."""
    shares = np.arange(256) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4).astype(np.float32)


# Exact, and a third faster than the cube that OpenCV interpolates RGB2LAB of floats in.
_LINEAR = _linear_light()

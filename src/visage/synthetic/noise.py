"""Seeded smooth noise and colour conversion: the material everything else is painted with.

Octaves are drawn coarse first and counted in cells, not pixels, so the same seed gives the same pattern at every
picture size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# float32 unless a docstring says otherwise: OpenCV's stubs lose element types, so annotations do not spell them out.
Array = NDArray[Any]
Plane = NDArray[Any]


def stream(*key: int) -> np.random.Generator:
    """An independent generator for `key` (non-negative integers): the same key, the same numbers, in any process."""
    return np.random.default_rng(key)


def fractal(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, float], octaves: int = 4, gain: float = 0.5
) -> Plane:
    """Fractal value noise, HxW float32 of about zero mean and unit range, `cells` = (rows, columns) of the coarsest
    octave.

    Octaves finer than the pixel grid are skipped: they would cost time and alias.
    """
    height, width = shape
    out = np.zeros(shape, np.float32)
    weight, total = 1.0, 0.0
    for octave in range(octaves):
        rows, cols = (max(2, round(c * 2**octave) + 1) for c in cells)
        if octave and (rows > 1.2 * height or cols > 1.2 * width):
            break
        grid = rng.standard_normal((rows, cols), dtype=np.float32)
        out += np.float32(weight) * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += weight**2
        weight *= gain
    return out * np.float32(0.5 / np.sqrt(total))


def blur(image: Array, sigma: float) -> Array:
    """Gaussian blur of `sigma` pixels, HxW or HxWxC; wide ones are done on a smaller copy, where they cost next to
    nothing."""
    factor = int(sigma // 3)
    if factor < 2:
        return cv2.GaussianBlur(image, (0, 0), max(sigma, 0.1), borderType=cv2.BORDER_REPLICATE)
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, -(-width // factor)), max(1, -(-height // factor))), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def smoothstep(low: float | np.floating, high: float | np.floating, x: Plane) -> Plane:
    """Cubic step from 0 at `low` to 1 at `high` (either may be the larger), elementwise float32."""
    t = np.clip((x - np.float32(low)) * np.float32(1.0 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def linear(srgb: Sequence[float]) -> Array:
    """sRGB 0..255 to linear light 0..1 (a plain 2.2 power, whose inverse the camera applies)."""
    return (np.asarray(srgb, np.float32) / 255.0) ** np.float32(2.2)


def mix(a: Array, b: Array, t: Plane) -> Array:
    """`a` where t is 0, `b` where t is 1; `t` is HxW, `a` and `b` HxWx3 or a colour."""
    return a + (b - a) * t[..., None]

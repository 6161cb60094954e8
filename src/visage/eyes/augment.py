"""Training augmentation of eyes: one affine motion of everything that is known about a frame, then marks and light.

Image, label, weights, distance and ellipse move by the same matrix, so none can be forgotten. What a frame is moved by
is drawn first, and everything is a pure function of the generator.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.eyes.config import EyeAugment
from visage.eyes.prepared import half_diagonal
from visage.vision.augment import Augmentation, random_affine

# The stored distance has half the frame's size: pixel i of it lies at 2 i + 0.5 of the frame.
FROM_HALF = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
IDENTITY = np.eye(2, 3)
# Around those of the published preprocessing (1.5, 8 x 8 tiles): a model meets frames that have been through it.
CLAHE_CLIP, CLAHE_TILES = (1.0, 2.5), (8, 8)
# Rows of the frames that widths of marks and sizes of blur are given for.
FULL_HEIGHT = 400


def draw_motion(height: int, width: int, settings: EyeAugment, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random 2 x 3 matrix that moves points (x, y) of a frame: rotation, scale, shift, and perhaps a mirror."""
    motion = Augmentation(settings.flip, settings.rotation, scale=settings.scale, shift=settings.shift)
    return random_affine(width, height, motion, rng)


def move_image(image: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """H x W uint8, moved. The border is repeated: a reflected one could show a second pupil that no label has."""
    return _warp(image, matrix, image.shape, cv2.BORDER_REPLICATE)


def move_label(label: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """H x W uint8 of {0, 1}, moved; its edge is placed to a fraction of a pixel before it is cut at one half."""
    return (_warp(label * np.uint8(255), matrix, label.shape, cv2.BORDER_CONSTANT) > 127).astype(np.uint8)


def move_weights(weights: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """H x W uint8, moved; there is no edge beyond the border."""
    return _warp(weights, matrix, weights.shape, cv2.BORDER_CONSTANT)


def move_distance(distance: NDArray[np.floating], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """The signed distance, H/2 x W/2 in pixels of the frame, moved and at the frame's size: H x W float32.

    Distances grow with the matrix's scale.
    """
    shape = (2 * distance.shape[0], 2 * distance.shape[1])
    scale = np.float32(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    return scale * _warp(distance.astype(np.float32), matrix @ FROM_HALF, shape, cv2.BORDER_REPLICATE)


def move_ellipse(
    ellipse: NDArray[np.float32], label: NDArray[np.uint8], matrix: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(cx / W, cy / H, rx / R, ry / R), moved; not a number where the centre leaves the frame.

    label: H x W uint8, the frame's mask before the motion.

    The radii are twice the standard deviations along the axes, so they are the diagonal of a covariance matrix that
    moves as A C A^T; its other entry comes from the label's moments.
    """
    if not np.isfinite(ellipse).all():
        return ellipse
    height, width = label.shape
    sizes = np.array([width, height], np.float64)
    radius = half_diagonal(height, width)
    moments = cv2.moments(label, binaryImage=True)
    cross = 4 * moments["mu11"] / moments["m00"] if moments["m00"] else 0.0
    rx, ry = ellipse[2:].astype(np.float64) * radius
    linear = matrix[:, :2]
    spread = linear @ np.array([[rx * rx, cross], [cross, ry * ry]]) @ linear.T
    centre = linear @ (ellipse[:2] * sizes) + matrix[:, 2]
    if (centre < 0).any() or (centre > sizes).any():
        return np.full(4, np.nan, np.float32)
    return np.concatenate((centre / sizes, np.sqrt(np.diag(spread)) / radius)).astype(np.float32)


def spoil(
    image: NDArray[np.uint8], centre: tuple[float, float] | None, settings: EyeAugment, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Other light, marks, blur, noise and local contrast on a copy of `image` (H x W uint8); nothing moves.

    centre: of the pupil in pixels, around which most lamps are reflected; None for a closed eye.
    """
    height, width = image.shape
    unit = height / FULL_HEIGHT
    image = np.asarray(cv2.LUT(image, _light(float(image.mean()), settings, rng)), np.uint8)
    if rng.random() < settings.lines:
        _draw_lines(image, max(1, round(4 * unit)), rng)
    if rng.random() < settings.glints:
        _draw_glints(image, centre or (width * rng.uniform(0.2, 0.8), height * rng.uniform(0.2, 0.8)), unit, rng)
    if rng.random() < settings.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 5) * unit), np.uint8)
    if rng.random() < settings.noise:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 12))
        image = np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
    if rng.random() < settings.clahe:
        image = np.asarray(cv2.createCLAHE(rng.uniform(*CLAHE_CLIP), CLAHE_TILES).apply(image), np.uint8)
    return image


def _warp(array: NDArray, matrix: NDArray[np.float64], shape: tuple[int, ...], border: int) -> NDArray:
    """`array` under `matrix` (2 x 3, moving points), as a map of `shape`, between pixels linearly."""
    return cv2.warpAffine(array, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR, borderMode=border)


def _light(mean: float, settings: EyeAugment, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A table of 256 greys: a gamma, then contrast about `mean`."""
    gamma = 1 + rng.uniform(-settings.gamma, settings.gamma)
    contrast = 1 + rng.uniform(-settings.contrast, settings.contrast)
    curved = 255 * (np.arange(256) / 255) ** gamma
    middle = 255 * (mean / 255) ** gamma
    return np.clip(middle + contrast * (curved - middle) + 0.5, 0, 255).astype(np.uint8)


def _draw_lines(image: NDArray[np.uint8], thickness: int, rng: np.random.Generator) -> None:
    """One to nine white lines that meet in a point of the middle 40 %, as reflections of a starburst do (RITnet)."""
    height, width = image.shape
    centre = np.array([width, height]) * rng.uniform(0.3, 0.7, 2)
    for angle in rng.uniform(0, np.pi, int(rng.integers(1, 10))):
        reach = np.array([np.cos(angle), np.sin(angle)]) * width * rng.uniform(0.1, 0.6, 2)[:, None]
        begin, end = (centre - reach[0]).round().astype(int), (centre + reach[1]).round().astype(int)
        cv2.line(image, begin.tolist(), end.tolist(), 255, thickness, cv2.LINE_AA)


def _draw_glints(image: NDArray[np.uint8], centre: tuple[float, float], unit: float, rng: np.random.Generator) -> None:
    """One to eight small bright discs around `centre`, placed to a fraction of a pixel."""
    for _ in range(int(rng.integers(1, 9))):
        place = np.array(centre) + rng.normal(0, 30 * unit, 2)
        radius, grey = rng.uniform(1, 4) * unit, int(rng.integers(140, 256))
        # cv2 takes places in 1/16 of a pixel for shift=4.
        x, y = (16 * place).round().astype(int).tolist()
        cv2.circle(image, (x, y), max(1, round(16 * radius)), grey, cv2.FILLED, cv2.LINE_AA, shift=4)

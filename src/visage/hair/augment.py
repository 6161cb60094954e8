"""Training augmentation of hair pictures: one affine motion of picture and alpha, then colours and spoiling.

What moves into the picture from outside is the grey that letterboxing pads with: a reflected border would show hair
that no label has. A pasted patch brings its own alpha along for the same reason.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.export.card import IMAGENET_MEAN
from visage.hair.config import HairAugment
from visage.vision.augment import LUMA, Augmentation, random_affine, random_colour
from visage.vision.resize import resize

Pixels = NDArray[np.uint8]
GREY = tuple(round(255 * value) for value in IMAGENET_MEAN)
# Side of the picture that strengths of blur are given for.
USUAL_SIZE = 256
PATCH = (0.1, 0.4)
# Where the four pictures of a mosaic meet, as shares of the sides.
MEETING = (0.3, 0.7)
# Of zooming: coverage that counts as hair, how often a part is chosen near it, and how far off its middle (shares of
# the part, one deviation).
SOLID, NEAR_HAIR, STRAY = 127, 0.8, 0.22
# Of decoys: how often all of the hair is shown and not a piece of it, radii of a piece (shares of the side), the turns
# of the whole (degrees; upright it would be somebody from behind), and how much larger it becomes.
WHOLE, PIECE, TURNED, RESIZED = 0.4, (0.05, 0.3), (60, 300), (0.35, 1.3)
BLUR, NOISE, QUALITY = (0.4, 2.0), (2.0, 12.0), (25, 90)


def move(image: Pixels, alpha: Pixels, settings: HairAugment, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Picture (H x W x 3) and alpha (H x W), turned, scaled, shifted and perhaps mirrored by the same matrix."""
    height, width = alpha.shape
    motion = Augmentation(settings.flip, settings.rotation, scale=settings.scale, shift=settings.shift)
    matrix = random_affine(width, height, motion, rng)
    return _warp(image, matrix, GREY), _warp(alpha, matrix, (0,))


def paste(
    image: Pixels, alpha: Pixels, other: Pixels, other_alpha: Pixels, rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """Cover a random rectangle of picture and alpha by the same place of another picture (CutMix, Yun et al. 2019)."""
    sides = np.array(alpha.shape)
    extent = np.maximum(1, (sides * rng.uniform(*PATCH, 2)).astype(int))
    top, left = (rng.random(2) * (sides - extent + 1)).astype(int)
    place = slice(top, top + extent[0]), slice(left, left + extent[1])
    image, alpha = image.copy(), alpha.copy()
    image[place], alpha[place] = other[place], other_alpha[place]
    return image, alpha


def mosaic(pictures: Sequence[tuple[Pixels, Pixels]], rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Four pictures with their alphas, of one square size, made smaller and put into the four corners of one (YOLOv4,
    Bochkovskiy et al. 2020): heads of a tenth of the picture, of which no portrait has any."""
    side = pictures[0][1].shape[0]
    x, y = (int(side * share) for share in rng.uniform(*MEETING, 2))
    image, alpha = np.empty_like(pictures[0][0]), np.empty_like(pictures[0][1])
    columns, rows = (slice(0, x), slice(x, side)), (slice(0, y), slice(y, side))
    corners = [(row, column) for row in rows for column in columns]
    for place, (picture, cover) in zip(corners, pictures, strict=True):
        height, width = alpha[place].shape
        longer = max(height, width)
        top, left = (longer - height) // 2, (longer - width) // 2
        middle = slice(top, top + height), slice(left, left + width)
        image[place] = cv2.resize(picture, (longer, longer), interpolation=cv2.INTER_AREA)[middle]
        alpha[place] = cv2.resize(cover, (longer, longer), interpolation=cv2.INTER_AREA)[middle]
    return image, alpha


def zoom(image: Pixels, alpha: Pixels, most: float, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """A part of picture and alpha (S x S), enlarged to their size by a factor of 1 to 1 + `most` (log-uniform): mostly
    near hair, so that heads of every size are seen, and at times anywhere, so that backdrops without one are too."""
    side = alpha.shape[0]
    part = int(side / np.exp(rng.uniform(0, np.log(1 + most))))
    place = rng.uniform(0, side, 2)
    rows, columns = np.nonzero(alpha > SOLID)
    if len(rows) and rng.random() < NEAR_HAIR:
        pixel = int(rng.integers(len(rows)))
        place = np.array((rows[pixel], columns[pixel])) + rng.normal(0, STRAY * part, 2)
    top, left = np.clip(place - part / 2, 0, side - part).astype(int)
    window = slice(top, top + part), slice(left, left + part)
    return resize(image[window], side, side), resize(alpha[window], side, side)


def decoy(image: Pixels, alpha: Pixels, other: Pixels, other_alpha: Pixels, rng: np.random.Generator) -> Pixels:
    """`image` with hair of another picture at a random place behind its own hair: a piece of it, or all of it turned
    over. It belongs to no head, so it is none, and alpha stays: what hair is, its strands alone do not tell.

    image, other: S x S x 3. alpha, other_alpha: S x S.
    """
    side = alpha.shape[0]
    rows, columns = np.nonzero(other_alpha > SOLID)
    if not len(rows):
        return image
    if rng.random() < WHOLE:
        middle, angle = (float(columns.mean()), float(rows.mean())), rng.uniform(*TURNED)
    else:
        pixel = int(rng.integers(len(rows)))
        middle, angle = (float(columns[pixel]), float(rows[pixel])), rng.uniform(0, 360)
        piece = np.zeros_like(other_alpha)
        axes = tuple(int(radius) + 2 for radius in side * rng.uniform(*PIECE, 2))
        cv2.ellipse(piece, (int(middle[0]), int(middle[1])), axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
        other_alpha = np.minimum(other_alpha, piece)
    scale = math.exp(rng.uniform(*np.log(RESIZED)))
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, angle, scale), np.float64)
    matrix[:, 2] += rng.uniform(0, side, 2) - np.array(middle)
    other, cover = _warp(other, matrix, GREY), _warp(other_alpha, matrix, (0,))
    share = (cover / np.float32(255) * (1 - alpha / np.float32(255)))[..., None]
    return np.asarray(image + share * (other.astype(np.float32) - image) + 0.5, np.uint8)


def spoil(image: Pixels, settings: HairAugment, rng: np.random.Generator) -> Pixels:
    """Other colours, blur, noise and JPEG's traces on a copy of `image` (H x W x 3 uint8 RGB); nothing moves."""
    image = np.asarray(cv2.transform(image, _colours(image, settings, rng)), np.uint8)
    if rng.random() < settings.blur:
        sigma = rng.uniform(*BLUR) * image.shape[0] / USUAL_SIZE
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    if rng.random() < settings.noise:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(*NOISE))
        image = np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
    if rng.random() < settings.jpeg:
        # Red and blue change places on the way in and again on the way out.
        _, packed = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*QUALITY))))
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return image


def turn_hue(angle: float) -> NDArray[np.float64]:
    """The 3 x 3 matrix that turns RGB colours by `angle` (radians) about the axis of greys, which it leaves alone."""
    cosine, sine = math.cos(angle), math.sin(angle)
    across = np.full((3, 3), (1 - cosine) / 3)
    aside = sine / math.sqrt(3) * np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    return cosine * np.eye(3) + across + aside


def _colours(image: Pixels, settings: HairAugment, rng: np.random.Generator) -> NDArray[np.float64]:
    """A 3 x 4 matrix for `cv2.transform`: brightness, contrast and saturation, hue, and perhaps grey."""
    strengths = Augmentation(brightness=settings.brightness, contrast=settings.contrast, saturation=settings.saturation)
    matrix = turn_hue(math.pi * rng.uniform(-settings.hue, settings.hue)) @ random_colour(image, strengths, rng)
    return np.tile(LUMA, (3, 1)) @ matrix if rng.random() < settings.grey else matrix


def _warp(array: Pixels, matrix: NDArray[np.float64], border: tuple[int, ...]) -> Pixels:
    size = array.shape[1], array.shape[0]
    moved = cv2.warpAffine(
        array, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )
    return np.asarray(moved, np.uint8)

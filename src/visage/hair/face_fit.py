"""Where the face is, without any model file: the place under which a picture's colours and a head's shape agree best.

A face is sought as an upright ellipse. Its score is the likelihood of the picture's colours when hair, skin and
background have the places that they have around such a face, plus how skin-like its middle is; both are needed, for a
suit fits the shape and a wall the colour. Colours are a small codebook, so that trying a place takes a fraction of a
millisecond. Faces are taken to look at the camera, more or less upright, near the middle rather than at the edge.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LOOKED_AT_PX, LOOKED_AT_CODES = 48, 24  # pixels of the longer side and colours that the search sees
ASPECT = 1.35  # height of a face, upper forehead to chin, by its width from temple to temple
WIDTHS = np.geomspace(0.1, 0.5, 9)  # of faces that are tried, by the longer side
LEAST_WIDTH, LARGEST_WIDTH = 0.08, 0.6
PEAKS, KEPT = 3, 3  # starting places of each width, and of all those that are followed
STEPS = (0.2, 0.1, 0.05)  # in face widths
SKIN_WEIGHT, PLACE_WEIGHT = 0.35, 0.06
# Mean and spread of centre x and y, by the picture's sides, and of the width's logarithm, by the longer side.
PLACE = ((0.5, 0.22), (0.45, 0.2), (float(np.log(0.3)), 0.5))
# Codes this near, in weighted Lab, share what is learned of them. Lightness weighs less: faces are lit from one side.
ALIKE, LAB_WEIGHTS = 6.0, np.array([0.7, 1.2, 1.2], np.float32)
FLOOR = 1e-4  # share of a class's pixels that any colour has
SAMPLED = 6000


@dataclass(frozen=True)
class Face:
    """An upright ellipse in pixels: its centre, and its whole width and height, temples and upper forehead to chin."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Codes:
    """A picture in few colours. of: H x W int64, the code of each pixel. alike: K x K, how much codes share. skin: K,
    how skin-like each is, 0 to 1."""

    of: NDArray[np.int64]
    alike: Floats
    skin: Floats


def skin_likeness(image: NDArray[np.uint8]) -> Floats:
    """How skin-like the colours of ... x 3 uint8 RGB are, 0 to 1: a Gaussian in the chroma plane around the box of Chai
    and Ngan (1999), Cr 133-173 and Cb 77-127, a little redder; nearly black is not skin."""
    flat = np.ascontiguousarray(image).reshape(1, -1, 3)
    luma, red, blue = np.moveaxis(cv2.cvtColor(flat, cv2.COLOR_RGB2YCrCb).astype(np.float32)[0], -1, 0)
    likeness = np.exp(-(((red - 153) / 14) ** 2 + ((blue - 108) / 14) ** 2) / 2) * (luma > 25)
    return likeness.reshape(image.shape[:-1]).astype(np.float32)


def colour_codes(image: NDArray[np.uint8], count: int) -> Codes:
    """Give each pixel of H x W x 3 uint8 RGB (at least `count` pixels) one of `count` colours, found by k-means."""
    lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 0.7), cv2.COLOR_RGB2LAB).astype(np.float32)
    points = lab.reshape(-1, 3) * LAB_WEIGHTS
    sample = np.ascontiguousarray(points[:: max(1, len(points) // SAMPLED)])
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 10, 1.0)
    _, _, centres = cv2.kmeans(sample, count, None, criteria, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    of = ((centres**2).sum(1) - 2 * points @ centres.T).argmin(1).reshape(image.shape[:2])
    apart = ((centres[:, None] - centres[None]) ** 2).sum(-1)
    colours = (centres / LAB_WEIGHTS).round().clip(0, 255).astype(np.uint8)
    rgb = cv2.cvtColor(colours[None], cv2.COLOR_LAB2RGB)[0]
    return Codes(of, np.exp(-apart / (2 * ALIKE**2)), skin_likeness(np.asarray(rgb, np.uint8)))


def head_frame(shape: tuple[int, int], face: Face) -> tuple[Floats, Floats]:
    """u and v of each pixel, H x W float32: right and down from the face's centre, in half its width and height."""
    u = (np.arange(shape[1], dtype=np.float32) - face.x) / (face.width / 2)
    v = (np.arange(shape[0], dtype=np.float32) - face.y) / (face.height / 2)
    return np.broadcast_to(u, shape), np.broadcast_to(v[:, None], shape)


def place_priors(shape: tuple[int, int], face: Face) -> Floats:
    """How likely hair, skin and background are in each place around `face`: 3 x H x W float32, adding up to 1.

    Hair is a ring around the upper face, thinner at the sides and gone below the shoulders; the forehead may have a
    fringe. Round numbers, set by eye on where drawn people have their hair.
    """
    u, v = head_frame(shape, face)
    r = np.hypot(u, v)
    depth = (0.85 - 0.55 * _ramp(v, -0.8, 0.2)) * (1 - _ramp(v, 0.6, 2.0))
    away = r - 1.25
    hair = depth * np.exp(-((away / np.where(away < 0, 0.22, 0.3)) ** 2) / 2)
    hair = np.maximum(hair, 0.4 * ((v < -0.45) & (r < 1.25)))  # a fringe
    hair = np.maximum(hair, 0.1 * np.clip(1 - (r - 1) / 1.5, 0, 1) * ((r > 1) & (v < 1.6)))  # volume
    hair = np.where(np.hypot(u / 0.8, (v - 0.2) / 0.8) <= 1, 0.03, hair).clip(0.004, 0.9)
    inside = 1 / (1 + np.exp(((r - 0.95) / 0.06).clip(-50, 50)))
    neck = (np.abs(u) < 0.7) & (v > 0.8) & (v < 1.7)
    skin = np.maximum(inside, np.where(neck, 0.6, 0.02)) * (1 - hair)
    priors = np.stack([hair, skin, np.clip(1 - hair - skin, 0.002, 1)])
    return (priors / priors.sum(0)).astype(np.float32)


def learn(priors: Floats, codes: Codes, rounds: int, skin: Floats | None = None) -> tuple[Floats, float]:
    """Learn what colours hair, skin and background have, by expectation maximisation from where they are likely.

    Args:
        priors: 3 x H x W, of `place_priors`.
        codes: the picture.
        rounds: of the algorithm, at least 1.
        skin: K, what skin's colours are weighted with beforehand, None for nothing.

    Returns:
        Posteriors, 3 x H x W float32, and the mean log-likelihood of a pixel.
    """
    flat, of = priors.reshape(3, -1), codes.of.ravel()
    posteriors = flat
    for _ in range(rounds):
        shares = np.stack([np.bincount(of, each, len(codes.alike)) for each in posteriors]) @ codes.alike
        if skin is not None:
            shares[1] *= skin
        shares = shares / (shares.sum(1, keepdims=True) + 1e-9) + FLOOR
        joint = flat * shares[:, of]
        total = joint.sum(0)
        posteriors = joint / total
    return posteriors.reshape(priors.shape).astype(np.float32), float(np.log(total).mean())


def find_face(image: NDArray[np.uint8]) -> Face:
    """The likeliest face of H x W x 3 uint8 RGB, both sides at least 16 pixels; there is always an answer."""
    height, width = image.shape[:2]
    scale = LOOKED_AT_PX / max(height, width)
    size = (max(5, round(width * scale)), max(5, round(height * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    skin = skin_likeness(np.asarray(cv2.GaussianBlur(small, (0, 0), 0.8), np.uint8))
    codes = colour_codes(small, LOOKED_AT_CODES)

    def score(place: NDArray[np.float64]) -> float:
        x, y, across = place
        if not (0 <= x < size[0] and 0 <= y < size[1] and LEAST_WIDTH <= across / LOOKED_AT_PX <= LARGEST_WIDTH):
            return -np.inf
        face = Face(x, y, across, ASPECT * across)
        core = np.hypot(*head_frame(skin.shape, face)) < 0.8  # type: ignore[arg-type]
        if not core.any():
            return -np.inf
        _, likelihood = learn(place_priors(skin.shape, face), codes, 2, 0.05 + codes.skin)  # type: ignore[arg-type]
        numbers = (x / size[0], y / size[1], np.log(across / LOOKED_AT_PX))
        odd = sum(((number - mean) / spread) ** 2 for number, (mean, spread) in zip(numbers, PLACE, strict=True))
        return likelihood + SKIN_WEIGHT * float(np.log(skin[core].mean() + 0.02)) - PLACE_WEIGHT * float(odd)

    starts = sorted(((score(place), *place) for place in _starts(skin)), reverse=True)[:KEPT]
    found = max(_climb(np.array(place), best, score) for best, *place in starts)
    x, y, across = (value / scale for value in found[1:])
    return Face(x, y, across, ASPECT * across)


def _starts(skin: Floats) -> list[NDArray[np.float64]]:
    """Places (x, y, width) where an ellipse is more skin-like than what is above and beside it, and the middle."""
    height, width = skin.shape
    places = [np.array([width / 2, 0.48 * height, 0.33 * LOOKED_AT_PX])]
    for across in WIDTHS * LOOKED_AT_PX:
        reach = int(0.95 * ASPECT * across)
        u, v = head_frame((2 * reach + 1, 2 * reach + 1), Face(reach, reach, across, ASPECT * across))
        r = np.hypot(u, v)
        inside, around = r <= 0.85, (r > 1.15) & (r < 1.6) & (v < 0.5)
        kernel = (inside / inside.sum() - around / around.sum()).astype(np.float32)
        contrast = cv2.filter2D(skin, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
        for _ in range(PEAKS):
            y, x = np.unravel_index(int(contrast.argmax()), contrast.shape)
            places.append(np.array([float(x), float(y), across]))
            cv2.circle(contrast, (int(x), int(y)), max(1, int(across / 2)), -1.0, -1)
    return places


def _climb(
    place: NDArray[np.float64], best: float, score: Callable[[NDArray[np.float64]], float]
) -> tuple[float, float, float, float]:
    """The best place that single steps from `place`, smaller and smaller ones, lead to: (score, x, y, width)."""
    for step in STEPS:
        for _ in range(6):
            moves = [place + step * place[2] * np.array([dx, dy, 0]) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
            moves += [place * np.array([1, 1, np.exp(sign * step)]) for sign in (1, -1)]
            found = max((score(move), *move) for move in moves)
            if found[0] <= best:
                break
            best, place = found[0], np.array(found[1:])
    return best, float(place[0]), float(place[1]), float(place[2])


def _ramp(values: Floats, start: float, end: float) -> Floats:
    """0 up to `start`, 1 from `end`, a straight line between."""
    return np.clip((values - start) / (end - start), 0, 1)

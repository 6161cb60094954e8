"""A closer look at photographs by a segmenter of portraits: first at where hair may be, then again at each such region.

A segmenter knows heads as large as its training showed them; in a photograph a head may be a twentieth of the picture,
before blossom or cloth that looks like hair at one scale and not at another. So the network is asked about the whole
picture at several scales, whose scores are averaged. The regions that they agree on are then cut out with their
surroundings and asked about at the size of training, as they are and mirrored, where the network is at its best.
Nothing finer than the largest scale is seen, and hair outside the regions is given up.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.vision.resize import resize

Planes = NDArray[np.float32]
# A preprocessed batch -> its logits.
Ask = Callable[[Planes], Planes]

FACTORS = (1, 2, 4)  # of the size of training, at which the whole picture is asked about
CLIP = 6.5  # log odds beyond which a scale cannot outvote the others; above ln 509, so that alpha reaches 0 and 255
REGIONS = 6  # at most are looked at again
CONTEXT = 3.0  # side of a cut-out over the longer side of its region
SMALLEST = 0.25  # side of a cut-out over the size of training: from fewer pixels there is nothing to see
KEPT = 0.5  # of the best cut-out's sum of log odds: what has less is not hair


def look_closer(ask: Ask, batch: Planes, side: int) -> Planes:
    """Logits of square pictures, background and hair: float32 (N, 2, S, S) from preprocessed float32 (N, C, S, S).

    ask: of (1, C, T, T) for any T that is a multiple of `side`, the size of training, in pixels; S is FACTORS[-1] x
    `side`. An answer of `ask` that is not a number makes that picture's logits nan.
    """
    logits = np.empty((len(batch), 2, *batch.shape[2:]), np.float32)
    for place, picture in enumerate(batch):
        logits[place, 1] = _closer(ask, picture, side) / 2
    logits[:, 0] = -logits[:, 1]
    return logits


def _closer(ask: Ask, picture: Planes, side: int) -> Planes:
    """Log odds of hair, S x S, of a picture (C, S, S)."""
    coarse = np.stack([_score(ask, picture, factor * side) for factor in FACTORS]).mean(axis=0)
    if not np.isfinite(coarse).all():
        return coarse
    found = []
    for box in _regions(coarse):
        window = _window(box, len(coarse), side)
        part = picture[:, *window]
        mirrored = _score(ask, part[..., ::-1], side)[:, ::-1]
        score = (_score(ask, part, side) + mirrored) / 4 + coarse[window] / 2
        found.append((float(np.maximum(score, 0).sum()), window, score))
    closer = np.full_like(coarse, -CLIP)
    best = max((evidence for evidence, *_ in found), default=0.0)
    for evidence, window, score in found:
        if not evidence < KEPT * best:  # nan, which is not below anything, is passed on
            closer[window] = np.maximum(closer[window], score)
    return closer


def _score(ask: Ask, picture: Planes, side: int) -> Planes:
    """Log odds of hair, at most `CLIP` either way, of a square picture (C, S, S) seen at `side` pixels: S x S."""
    size = picture.shape[1]
    seen = np.stack([resize(np.ascontiguousarray(plane), side, side) for plane in picture])
    logits = ask(seen[None])[0]
    return resize(np.clip(logits[1] - logits[0], -CLIP, CLIP), size, size)


def _regions(score: Planes) -> list[tuple[int, int, int, int]]:
    """Boxes (x, y, width, height) of the parts where `score` is above 0, those with the largest sums first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((score > 0).astype(np.uint8))
    sums = np.bincount(labels.ravel(), np.maximum(score, 0).ravel(), count)
    sums[0] = 0
    order = np.argsort(-sums, kind="stable")[:REGIONS]
    boxes = [stats[part, :4].tolist() for part in order if sums[part] > 0]
    return [(x, y, width, height) for x, y, width, height in boxes]


def _window(box: tuple[int, int, int, int], size: int, side: int) -> tuple[slice, slice]:
    """Rows and columns of the square cut-out about a box, inside a picture of `size` pixels a side."""
    x, y, width, height = box
    length = min(size, max(int(CONTEXT * max(width, height)), int(SMALLEST * side)))
    left, top = (
        min(max(start + extent // 2 - length // 2, 0), size - length) for start, extent in ((x, width), (y, height))
    )
    return slice(top, top + length), slice(left, left + length)

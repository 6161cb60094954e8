"""A closer look at photographs by a segmenter of portraits: first at where hair may be, then again at each such place.

A segmenter knows heads as large as its training showed them; in a photograph a head may be a fiftieth of the picture,
before blossom or cloth that looks like hair at one scale and not at another. So the network is asked about the whole
picture at several scales, whose answers are averaged: what is hair is hair at most of them. Each place that they agree
on is then cut out with its surroundings and asked about at the size of training, where the network is at its best.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.vision.resize import resize

Planes = NDArray[np.float32]
# Preprocessed pictures (N, C, S, S) -> logits (N, 2, S, S).
Ask = Callable[[Planes], Planes]

FACTORS = (1, 2, 4)  # of the size of training, at which the whole picture is asked about
SURE = 6.0  # log odds that no answer exceeds: one scale that is certain cannot outvote the others
PLACES = 4  # at most are looked at again
LIKELY = 0.2  # of the surest place's sum of log odds: what has less is no place
ROOM = 2.5  # side of a cut-out over the longer side of its place
SMALLEST = 0.25  # side of a cut-out over the size of training: from fewer pixels there is nothing to see
KEPT = 0.5  # of the surest cut-out's mean log odds: what has less is not hair


def look_closer(ask: Ask, batch: Planes, side: int) -> Planes:
    """Logits (N, 2, S, S) of preprocessed square pictures (N, C, S, S), S being `FACTORS[-1]` x `side`, the size that
    the network behind `ask` was trained at. Outside the places that were looked at again there is no hair."""
    margins = np.stack([_closer(ask, picture, side) for picture in batch])
    return np.stack((-margins / 2, margins / 2), axis=1)


def _closer(ask: Ask, picture: Planes, side: int) -> Planes:
    coarse = np.stack([_margin(ask, picture, factor * side) for factor in FACTORS]).mean(axis=0)
    found = []
    for box in _places(coarse):
        rows, columns = _window(box, len(coarse), side)
        seen = (_margin(ask, picture[:, rows, columns], side) + coarse[rows, columns]) / 2
        found.append((float(np.maximum(seen, 0).mean()), rows, columns, seen))
    margin = np.full_like(coarse, -SURE)
    surest = max((certainty for certainty, *_ in found), default=0.0)
    for certainty, rows, columns, seen in found:
        if certainty >= KEPT * surest:
            margin[rows, columns] = np.maximum(margin[rows, columns], seen)
    return margin


def _margin(ask: Ask, picture: Planes, side: int) -> Planes:
    """Log odds of hair, at most `SURE` either way, of a square picture (C, S, S) seen at `side` pixels: S x S."""
    size = picture.shape[1]
    seen = np.stack([resize(np.ascontiguousarray(plane), side, side) for plane in picture])
    logits = ask(seen[None])[0]
    return resize(np.clip(logits[1] - logits[0], -SURE, SURE), size, size)


def _places(margin: Planes) -> list[Any]:
    """Boxes (x, y, width, height) of the parts that may be hair, the surest first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((margin > 0).astype(np.uint8))
    sums = np.bincount(labels.ravel(), np.maximum(margin, 0).ravel(), count)
    sums[0] = 0
    order = np.argsort(-sums, kind="stable")[:PLACES]
    return [stats[part, :4] for part in order if sums[part] > LIKELY * sums[order[0]]]


def _window(box: Any, size: int, side: int) -> tuple[slice, slice]:
    """Rows and columns of the square cut-out about a box, inside a picture of `size` pixels a side."""
    x, y, width, height = (int(value) for value in box)
    length = min(size, max(int(ROOM * max(width, height)), int(SMALLEST * side)))
    left, top = (
        min(max(start + extent // 2 - length // 2, 0), size - length) for start, extent in ((x, width), (y, height))
    )
    return slice(top, top + length), slice(left, left + length)

"""A closer look at photographs by a segmenter of portraits: first at where hair may be, then again at each such region.

A segmenter knows heads as large as its training showed them; in a photograph a head may be a twentieth of the picture,
before blossom or cloth that looks like hair at one scale and not at another. So the network is asked about the whole
picture at several scales, whose scores are averaged. The regions that they agree on are then cut out with less and
with more of their surroundings and asked about at the size of training, as they are and mirrored, where the network is
at its best.
Nothing finer than the largest scale is seen, and hair outside the regions is given up.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.vision.resize import resize

Planes = NDArray[np.float32]
# A preprocessed batch -> its logits.
Ask = Callable[[Planes], Planes]

FACTORS = (2, 3, 4)  # of the size of training, at which the whole picture is asked about
CLIP = 6.5  # log odds beyond which a scale cannot outvote the others; above ln 509, so that alpha reaches 0 and 255
REGIONS = 6  # at most are looked at again
CONTEXTS = (1.6, 2.2, 3.0)  # sides of the cut-outs over the longer side of their region
COARSE = 0.4  # what the scales weigh in a cut-out's score
SMALLEST = 0.25  # side of a cut-out over the size of training: from fewer pixels there is nothing to see
SURE = 2.0  # log odds; what is beyond is evidence, and a large place of which the network is not sure is none
KEPT = 0.5  # of the best cut-out's evidence: what has less is not hair
LEAST = 0.2  # of the most evidence of a part in what is kept: what has less is a speck


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
    looks = []
    for box in _regions(coarse).boxes[:REGIONS]:
        window, score = _look(ask, picture, box, side)
        score = (1 - COARSE) * score + COARSE * coarse[window]
        looks.append((float(_evidence(score).sum()), window, score))
    best = max((evidence for evidence, *_ in looks), default=0.0)
    closer = np.full_like(coarse, -CLIP)
    for evidence, window, score in looks:
        if not evidence < KEPT * best:  # nan, which is not below anything, is passed on
            closer[window] = np.maximum(closer[window], score)
    found = _regions(closer)
    weak = found.names[found.evidence < LEAST * found.evidence.max(initial=0)]
    closer[np.isin(found.labels, weak)] = -CLIP
    return closer


def _look(ask: Ask, picture: Planes, box: list[int], side: int) -> tuple[tuple[slice, slice], Planes]:
    """The largest cut-out about a box, and in it the mean log odds of those that show a pixel."""
    size = picture.shape[1]
    total, count = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    for context in CONTEXTS:
        window = _window(box, size, max(int(context * max(box[2:])), int(SMALLEST * side)))
        part = picture[:, *window]
        total[window] += (_score(ask, part, side) + _score(ask, part[..., ::-1], side)[:, ::-1]) / 2
        count[window] += 1
    return window, total[window] / count[window]


def _score(ask: Ask, picture: Planes, side: int) -> Planes:
    """Log odds of hair, at most `CLIP` either way, of a square picture (C, S, S) seen at `side` pixels: S x S."""
    size = picture.shape[1]
    seen = np.stack([resize(np.ascontiguousarray(plane), side, side) for plane in picture])
    logits = ask(seen[None])[0]
    return resize(np.clip(logits[1] - logits[0], -CLIP, CLIP), size, size)


class _Regions(NamedTuple):
    """The connected parts where a score is above 0, R of them, those with the most evidence first.

    boxes: (x, y, width, height) of each. evidence: sums of `_evidence`, (R,) float64. names: of each in `labels`, (R,);
    labels: S x S int32.
    """

    boxes: list[list[int]]
    evidence: NDArray[np.float64]
    names: NDArray[np.intp]
    labels: NDArray[np.int32]


def _evidence(score: Planes) -> Planes:
    """How far each log odds is beyond `SURE`."""
    return np.maximum(score - SURE, 0)


def _regions(score: Planes) -> _Regions:
    count, labels, stats, _ = cv2.connectedComponentsWithStats((score > 0).astype(np.uint8))
    sums = np.bincount(labels.ravel(), _evidence(score).ravel(), count)
    names = 1 + np.argsort(-sums[1:], kind="stable")
    return _Regions(stats[names, :4].tolist(), sums[names].astype(np.float64), names, np.asarray(labels, np.int32))


def _window(box: list[int], size: int, length: int) -> tuple[slice, slice]:
    """Rows and columns of the square cut-out of `length` about a box, inside a picture of `size` pixels a side."""
    x, y, width, height = box
    length = min(size, length)
    left, top = (
        min(max(start + extent // 2 - length // 2, 0), size - length) for start, extent in ((x, width), (y, height))
    )
    return slice(top, top + length), slice(left, left + length)

"""What is measured of answers to frames of the prepared eyes, whoever gave them.

Everything is in pixels of a whole frame, 400 x 640, whatever size the frames were prepared at.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visage.eyes.maps import in_pixels, resized
from visage.eyes.networks import FRAME
from visage.eyes.prepared import EyeSet
from visage.metrics import segmentation as metrics_of

BATCH = 16
PUPIL = 1
# A closed eye answered with more pixels than this, of a whole frame, is a false alarm: a disc of radius 6.
ALARM_PX = 100

Numbers = NDArray[np.float64]
# Rows of the prepared eyes -> masks, B x H x W uint8 of {0, 1}, and ellipses (cx, cy, rx, ry), B x 4 in pixels of the
# prepared frame, not a number where no pupil was found.
Answers = Callable[[NDArray[np.intp]], tuple[NDArray[np.uint8], Numbers]]


@dataclass(frozen=True)
class Measured:
    """numbers: the metrics. Of the open eyes, in order: their rows, the IoU of each, and the centre errors in pixels of
    a whole frame."""

    numbers: dict[str, float]
    rows: NDArray[np.intp]
    iou: Numbers
    errors: Numbers


def measure(eyes: EyeSet, rows: NDArray[np.intp], answer: Answers) -> Measured:
    """Measure the answers to `rows`."""
    shape = eyes.height, eyes.width
    counts: list[metrics_of.Overlap] = []
    said: list[Numbers] = []
    for batch in np.split(rows, range(BATCH, len(rows), BATCH)):
        masks, ellipses = answer(batch)
        counts.append(metrics_of.overlap(np.stack([eyes.label(row) for row in batch]), masks, 2))
        said.append(ellipses)
    true = [in_pixels((cx, cy, rx, ry), shape) for cx, cy, rx, ry in eyes.ellipses[rows].astype(np.float64)]
    return reduce(rows, metrics_of.joined(counts), whole(np.array(true), shape), whole(np.concatenate(said), shape))


def whole(ellipses: Numbers, shape: tuple[int, int]) -> Numbers:
    """Ellipses in pixels of frames of `shape`, N x 4, in pixels of a whole one."""
    return np.array([resized((cx, cy, rx, ry), shape, FRAME) for cx, cy, rx, ry in ellipses])


def reduce(rows: NDArray[np.intp], counts: metrics_of.Overlap, true: Numbers, said: Numbers) -> Measured:
    """The metrics of pixel counts and of ellipses in pixels of a whole frame, N x 4."""
    background, pupil = metrics_of.pooled_iou(counts)
    each = metrics_of.picture_iou(counts, PUPIL)
    errors = metrics_of.centre_errors(true[:, :2], said[:, :2])
    frame = int(counts.truth[0].sum())
    numbers = {
        "miou": metrics_of.mean_iou(counts),
        "background_iou": float(background),
        "pupil_iou": float(pupil),
        "picture_iou": metrics_of.mean(each),
        "picture_iou_median": metrics_of.median(each),
        **metrics_of.centre_report(errors),
        "radius_px": metrics_of.radius_error(true[:, 2:], said[:, 2:]),
        "blink_false_alarms": metrics_of.false_alarms(counts, PUPIL, ALARM_PX * frame / math.prod(FRAME)),
    }
    return Measured(numbers, rows[counts.truth[:, PUPIL] > 0], each, errors)

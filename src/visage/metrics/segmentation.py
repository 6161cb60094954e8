"""Segmentation metrics in two steps: pixel counts of every picture first, pure reductions of them after.

Background is most of a picture, and an empty answer scores 0.99 on it, so the class that is looked for has its own
numbers: pooled over all pixels, and a value for each picture, where a small object counts as much as a large one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WITHIN_PX = (1, 2, 5)


@dataclass(frozen=True)
class Overlap:
    """Pixels of N pictures and K classes, each N x K int64: in truth and answer, in the truth, in the answer."""

    common: NDArray[np.int64]
    truth: NDArray[np.int64]
    answer: NDArray[np.int64]

    @property
    def either(self) -> NDArray[np.int64]:
        """Pixels in the truth or in the answer, N x K."""
        return self.truth + self.answer - self.common


def overlap(truth: NDArray, answer: NDArray, classes: int) -> Overlap:
    """Count the pixels of class maps N x H x W, whole numbers from 0 to classes - 1."""

    def count(maps: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
        return np.stack([np.count_nonzero(found, axis=(1, 2)) for found in maps], axis=1)

    true, said = [truth == index for index in range(classes)], [answer == index for index in range(classes)]
    both = [one & other for one, other in zip(true, said, strict=True)]
    return Overlap(count(both), count(true), count(said))


def joined(parts: Sequence[Overlap]) -> Overlap:
    """The counts of several sets of pictures as those of one."""
    return Overlap(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("common", "truth", "answer")))


def pooled_iou(counts: Overlap) -> NDArray[np.float64]:
    """Intersection over union of all pixels together, of each class; nan where neither has any."""
    common, either = counts.common.sum(0), counts.either.sum(0)
    return np.divide(common, either, out=np.full(common.shape, np.nan), where=either > 0)


def mean_iou(counts: Overlap) -> float:
    """The mean of `pooled_iou` over the classes that there are; nan without any."""
    each = pooled_iou(counts)
    return mean(each[np.isfinite(each)])


def picture_iou(counts: Overlap, index: int) -> NDArray[np.float64]:
    """IoU of class `index` in each picture whose truth has it: float64, as many as there are such pictures."""
    there = counts.truth[:, index] > 0
    return counts.common[there, index] / counts.either[there, index]


def false_alarms(counts: Overlap, index: int, more_than: float) -> float:
    """Of the pictures without class `index`, the share answered with `more_than` pixels of it; nan without any."""
    without = counts.truth[:, index] == 0
    return mean(counts.answer[without, index] > more_than)


def centre_errors(truth: NDArray, answer: NDArray) -> NDArray[np.float64]:
    """Distances between centres, N x 2, of the pictures whose truth is finite; infinite where the answer is not."""
    there = np.isfinite(truth).all(1)
    away = np.hypot(*(answer[there] - truth[there]).T)
    return np.where(np.isfinite(away), away, np.inf)


def centre_report(errors: NDArray[np.float64]) -> dict[str, float]:
    """What `centre_errors` come to: the share "found", their mean centre_px, and over all pictures, those not found
    being infinitely far off, centre_px_median and the shares within_1px, within_2px and within_5px."""
    found = np.isfinite(errors)
    return {
        "found": mean(found),
        "centre_px": mean(errors[found]),
        "centre_px_median": median(errors),
        **{f"within_{limit}px": mean(errors <= limit) for limit in WITHIN_PX},
    }


def radius_error(truth: NDArray, answer: NDArray) -> float:
    """Mean absolute error of the radii, N x 2, over the pictures where both have them; nan without any."""
    away = np.abs(answer - truth)
    return mean(away[np.isfinite(away).all(1)])


def mean(values: NDArray) -> float:
    """The mean, nan of nothing, and no warning."""
    return float(values.mean()) if values.size else float("nan")


def median(values: NDArray) -> float:
    """The median, nan of nothing, and no warning."""
    return float(np.median(values)) if values.size else float("nan")

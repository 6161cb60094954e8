"""Metrics of soft masks in two steps: counts of every picture first, pure reductions of them after.

An answer is kept as the histogram of its levels over the true pixels and over the others, from which follow IoU and F1
at any threshold and the whole precision-recall curve; its edge is compared apart, because a mask of mostly inside says
little about where it ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.metrics.segmentation import mean, median

LEVELS = 256
# From this level on a pixel belongs to the mask.
HALF = 128
# How far apart two edges may lie and still agree, in pixels.
REACH_PX = 2


@dataclass(frozen=True)
class MatteCounts:
    """Counts of N pictures. levels: N x 2 x 256 int64, pixels by truth (below `HALF`, from it on) and by the answer's
    level. absolute: N float64, the sum of |answer - truth| in units of a whole pixel. edges: N x 4 int64: pixels of the
    answer's edge, those of them near the true edge, pixels of the true edge, those of them near the answer's."""

    levels: NDArray[np.int64]
    absolute: NDArray[np.float64]
    edges: NDArray[np.int64]

    def of(self, chosen: NDArray[np.bool_]) -> "MatteCounts":
        """The counts of the pictures that are `chosen` (N of bool)."""
        return MatteCounts(self.levels[chosen], self.absolute[chosen], self.edges[chosen])


def count(truth: NDArray[np.uint8], answer: NDArray[np.uint8]) -> MatteCounts:
    """The counts of one picture; both are H x W uint8, coverage from 0 to 255."""
    mask, said = (truth >= HALF).astype(np.uint8), (answer >= HALF).astype(np.uint8)
    joint = np.bincount(mask.ravel().astype(np.intp) * LEVELS + answer.ravel(), minlength=2 * LEVELS)
    absolute = float(cv2.norm(truth, answer, cv2.NORM_L1)) / 255
    edge, said_edge = outline(mask), outline(said)
    near, said_near = cv2.dilate(edge, DISC) > 0, cv2.dilate(said_edge, DISC) > 0
    edges = [said_edge.sum(), (said_edge > 0)[near].sum(), edge.sum(), (edge > 0)[said_near].sum()]
    return MatteCounts(joint.reshape(1, 2, LEVELS), np.array([absolute]), np.array([edges], np.int64))


def joined(parts: Sequence[MatteCounts]) -> MatteCounts:
    """The counts of several sets of pictures as those of one."""
    return MatteCounts(*(np.concatenate([getattr(part, name) for part in parts])
                         for name in ("levels", "absolute", "edges")))  # fmt: skip


def outline(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pixels of `mask` (H x W uint8 of {0, 1}) that touch others than theirs; the picture's border is no edge."""
    return mask - np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE), np.uint8)


def report(counts: MatteCounts) -> dict[str, float]:
    """Of all pixels together: iou, f1, precision, recall, boundary_f (the F-score of the edges within `REACH_PX`), mae.
    Of pictures that have the object: picture_iou and picture_iou_median; of the others: empty_share, the mean share of
    the picture that was answered nevertheless. nan for what there is none of."""
    common, said, true = _masks(counts)
    there = true > 0
    each = common[there] / (said + true - common)[there]
    pixels = counts.levels.sum((1, 2))
    precision, recall = _ratio(common.sum(), said.sum()), _ratio(common.sum(), true.sum())
    edges = counts.edges.sum(0)
    return {
        "iou": _ratio(common.sum(), (said + true - common).sum()),
        "f1": _ratio(2 * common.sum(), (said + true).sum()),
        "precision": precision,
        "recall": recall,
        "boundary_f": _f_score(_ratio(edges[1], edges[0]), _ratio(edges[3], edges[2])),
        "mae": _ratio(counts.absolute.sum(), pixels.sum()),
        "picture_iou": mean(each),
        "picture_iou_median": median(each),
        "empty_share": mean(said[~there] / pixels[~there]),
    }


def picture_iou(counts: MatteCounts) -> NDArray[np.float64]:
    """IoU of each of the N pictures; nan where neither has anything."""
    common, said, true = _masks(counts)
    either = said + true - common
    return np.divide(common, either, out=np.full(common.shape, np.nan), where=either > 0)


def precision_recall(counts: MatteCounts, thresholds: Sequence[int]) -> list[tuple[float, float]]:
    """(precision, recall) of all pixels together where the mask begins at each of `thresholds` (1 to 255)."""
    other, true = counts.levels.sum(0)
    found = [(int(true[level:].sum()), int(other[level:].sum())) for level in thresholds]
    return [(_ratio(right, right + wrong), _ratio(right, true.sum())) for right, wrong in found]


def _masks(counts: MatteCounts) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pixels in truth and answer, in the answer, in the truth: N each."""
    said = counts.levels[:, :, HALF:].sum(2)
    return said[:, 1], said.sum(1), counts.levels[:, 1].sum(1)


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _f_score(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else precision + recall


def _disc() -> NDArray[np.uint8]:
    y, x = np.mgrid[-REACH_PX : REACH_PX + 1, -REACH_PX : REACH_PX + 1]
    return (x * x + y * y <= REACH_PX * REACH_PX).astype(np.uint8)


DISC = _disc()

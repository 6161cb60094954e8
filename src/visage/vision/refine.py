"""Mending a map of confidences: hysteresis, small parts, holes, and an edge fitted to the picture.

Every function is pure and leaves its input alone. The guided filter is written out with box filters, because OpenCV's
own is only in the contrib package, which cannot be installed beside the headless one.
"""

import cv2
import numpy as np
from numpy.typing import NDArray


def hysteresis(confidence: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """The 8-connected parts of confidence >= `low` that somewhere reach `high` (Canny 1986).

    Args:
        confidence: H x W, 0 to 1.
        low, high: thresholds, low <= high; equal ones make it a plain threshold.

    Returns:
        H x W uint8 of {0, 1}.

    Raises:
        ValueError: `low` is above `high`.
    """
    if low > high:
        raise ValueError(f"hysteresis from {low} to {high}: low must be at most high")
    weak = (confidence >= low).astype(np.uint8)
    count, labels = cv2.connectedComponents(weak)
    strong = np.zeros(count, np.uint8)
    strong[labels[confidence >= high]] = 1
    strong[0] = 0
    return strong[labels]


def keep_components(mask: NDArray[np.uint8], min_part: float) -> NDArray[np.uint8]:
    """Remove the 8-connected parts whose area is below `min_part` (0 to 1) of the largest one's.

    Returns:
        H x W uint8 of {0, 1}; 0 removes nothing, 1 leaves the largest part and any as large.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = (areas >= min_part * areas[1:].max(initial=0)).astype(np.uint8)
    kept[0] = 0
    assert len(kept) == count
    return kept[labels]


def fill_holes(mask: NDArray[np.uint8], max_part: float) -> NDArray[np.uint8]:
    """Fill the holes whose area is at most `max_part` (0 to 1) of the mask's.

    A hole is a 4-connected part of the background that does not touch the border: background that meets the outside
    only at a corner is enclosed, as the mask around it is connected over corners.

    Returns:
        H x W uint8 of {0, 1}.
    """
    inside = (mask != 0).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - inside, connectivity=4)
    fill = stats[:, cv2.CC_STAT_AREA] <= max_part * np.count_nonzero(inside)
    fill[0] = False
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        fill[edge] = False
    assert len(fill) == count
    return inside | fill.astype(np.uint8)[labels]


def guided_filter(
    guide: NDArray[np.uint8], source: NDArray[np.float32], radius: int, eps: float
) -> NDArray[np.float32]:
    """Smooth `source` along the edges of `guide` (He, Sun and Tang, "Guided Image Filtering", 2013, equations 11-14).

    In each window the output is a linear function of the guide's colour; a window that is cut off by the picture's edge
    is averaged over what is left of it.

    Args:
        guide: H x W x 3 (or H x W) uint8.
        source: H x W, of any range.
        radius: of the square windows, in pixels, at least 1; smaller than the picture or not.
        eps: variance of the guide, in units of (255 grey levels) squared, below which an edge is smoothed away.

    Returns:
        H x W float32; the range may be left by a little.

    Raises:
        ValueError: radius or eps is not positive, or the shapes differ.
    """
    if radius < 1 or eps <= 0:
        raise ValueError(f"guided filter of radius {radius} and eps {eps}: both must be positive")
    if guide.shape[:2] != source.shape:
        raise ValueError(f"guided filter: the guide is {guide.shape[:2]}, the source {source.shape}: make them equal")
    channels = np.atleast_3d(guide).astype(np.float64) / 255
    size = (2 * radius + 1, 2 * radius + 1)

    def total(plane: NDArray) -> NDArray[np.float64]:
        plane = np.asarray(plane, np.float64)
        sums = cv2.boxFilter(plane, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(sums, np.float64)

    count = total(np.ones(source.shape))

    def mean(planes: NDArray) -> NDArray[np.float64]:
        return np.stack([total(plane) / count for plane in np.moveaxis(planes, -1, 0)], axis=-1)

    values = source[..., None].astype(np.float64)
    guide_mean, value_mean = mean(channels), mean(values)
    depth = channels.shape[2]
    products = (channels[..., :, None] * channels[..., None, :]).reshape(*source.shape, depth * depth)
    spread = mean(products).reshape(*source.shape, depth, depth) - guide_mean[..., :, None] * guide_mean[..., None, :]
    shared = mean(channels * values) - guide_mean * value_mean
    slope = np.linalg.solve(spread + eps * np.eye(depth), shared[..., None])[..., 0]
    offset = value_mean[..., 0] - (slope * guide_mean).sum(-1)
    smooth = (mean(slope) * channels).sum(-1) + mean(offset[..., None])[..., 0]
    return smooth.astype(np.float32)

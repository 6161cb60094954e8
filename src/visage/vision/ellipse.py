"""Ellipses and masks: the ellipse that fits a mask's largest part, and the mask of an ellipse.

Pixels have their centres at whole numbers, the first at 0. OpenCV fits an outline that runs through the centres of the
outermost pixels, half a pixel inside the true edge, so half a pixel is added to both semi-axes.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Between outline and true edge, in pixels.
INSET = 0.5
# How far the areas of a fit and of its mask may be apart; an ellipse of few or oddly placed points can be huge.
PLAUSIBLE = 1.5
# Semi-axes below this, in pixels, are not fitted: an outline so thin is nearly a line.
THIN = 2.0


@dataclass(frozen=True)
class Ellipse:
    """Centre (cx, cy), semi-axes rx and ry in pixels, and `angle`, radians from the x axis (right) to that of rx,
    turning towards y (down).

    Of the two axes rx is the one nearer to x, angle in [-pi/4, pi/4): an upright ellipse has angle 0, whichever of its
    axes is longer.
    """

    cx: float
    cy: float
    rx: float
    ry: float
    angle: float = 0.0


def fit_ellipse(mask: NDArray) -> Ellipse | None:
    """The ellipse of the largest part of `mask` (H x W, anything but 0 is inside), holes filled; None without any.

    It is a least-squares fit to the outline (Fitzgibbon and Fisher 1995), which a hole or a notch hardly moves. A part
    too small or too odd for one has the ellipse of its moments.
    """
    part = largest_component(mask)
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    cv2.drawContours(part, outlines, 0, 1, cv2.FILLED)
    moments = _moments_fit(part)
    if len(outlines[0]) < 5 or min(moments.rx, moments.ry) < THIN:
        return moments
    # The angle that OpenCV gives belongs to the first of the two sizes.
    (cx, cy), (width, height), degrees = cv2.fitEllipse(outlines[0])
    fitted = _oriented(cx, cy, width / 2 + INSET, height / 2 + INSET, math.radians(degrees))
    ratio = fitted.rx * fitted.ry * math.pi / np.count_nonzero(part)
    return fitted if 1 / PLAUSIBLE < ratio < PLAUSIBLE else moments


def largest_component(mask: NDArray) -> NDArray[np.uint8]:
    """The largest 8-connected part of `mask` (H x W): H x W uint8 of {0, 1}, empty for an empty one."""
    binary = (mask != 0).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(binary)
    if count <= 2:
        return binary
    return (labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)


def surest_part(score: NDArray) -> NDArray[np.uint8]:
    """Of the 8-connected parts of `score` > 0 (H x W, logarithms of odds) the one with the largest sum, filled to its
    convex hull: H x W uint8 of {0, 1}, empty where nothing is above 0.

    A shadow that a network half takes for a pupil is often larger than the pupil that it is sure of; it has the larger
    area and the smaller sum. A pupil and what an eye's opening leaves of it are convex: a reflection in it is a hole or
    a notch in the answer, and not in the truth.
    """
    part = (score > 0).astype(np.uint8)
    count, labels = cv2.connectedComponents(part)
    if count > 2:
        sums = np.bincount(labels.ravel(), score.ravel(), count)
        part = (labels == 1 + int(sums[1:].argmax())).astype(np.uint8)
    points = cv2.findNonZero(part)
    if points is not None:
        cv2.fillConvexPoly(part, cv2.convexHull(points), 1)
    return part


def render_ellipse(ellipse: Ellipse, height: int, width: int) -> NDArray[np.uint8]:
    """The pixels of a height x width picture whose centres lie in `ellipse`: uint8 of {0, 1}; none where it is nan."""
    x, y = np.arange(width) - ellipse.cx, (np.arange(height) - ellipse.cy)[:, None]
    cos, sin = math.cos(ellipse.angle), math.sin(ellipse.angle)
    along, across = (x * cos + y * sin) / max(ellipse.rx, 1e-6), (y * cos - x * sin) / max(ellipse.ry, 1e-6)
    return (along**2 + across**2 < 1).astype(np.uint8)


def _moments_fit(part: NDArray[np.uint8]) -> Ellipse:
    """The ellipse with the area moments of `part`, each pixel a square: its semi-axes are twice the spreads."""
    m = cv2.moments(part, binaryImage=True)
    # A square of side 1 has the variance 1 / 12 along each side.
    xx, yy, xy = m["mu20"] / m["m00"] + 1 / 12, m["mu02"] / m["m00"] + 1 / 12, m["mu11"] / m["m00"]
    mean, apart = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    major, minor = 2 * math.sqrt(mean + apart), 2 * math.sqrt(max(mean - apart, 1 / 12))
    return _oriented(m["m10"] / m["m00"], m["m01"] / m["m00"], major, minor, 0.5 * math.atan2(2 * xy, xx - yy))


def _oriented(cx: float, cy: float, first: float, second: float, angle: float) -> Ellipse:
    """The ellipse with semi-axis `first` along `angle` and `second` across it, as `Ellipse` has it."""
    turns = math.floor(angle / (math.pi / 2) + 0.5)
    rx, ry = (second, first) if turns % 2 else (first, second)
    return Ellipse(cx, cy, rx, ry, angle - turns * math.pi / 2)

"""What is computed from a pupil's mask: spatial weights, signed distance, ellipse.

The ellipse is made of moments, (2 sd of x, 2 sd of y) being the semi-axes of an upright one: a fitted ellipse gives
the axes of a turned one, of which neither is the extent along x.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.eyes.prepared import LARGEST_WEIGHT, half_diagonal

# An array, not (3, 3): that is a kernel of two elements for OpenCV.
NEIGHBOURHOOD = np.ones((3, 3), np.uint8)

Numbers = tuple[float, float, float, float]
NO_ELLIPSE: Numbers = (math.nan, math.nan, math.nan, math.nan)


def spatial_weights(label: NDArray[np.uint8]) -> NDArray[np.float32]:
    """RITnet's edge weights.

    Args:
        label: H x W uint8 of {0, 1}.

    Returns:
        H x W float32, `LARGEST_WEIGHT` on the edge and the pixels around it, else 0.
    """
    edge = cv2.dilate(cv2.Canny(label * np.uint8(255), 0, 3), NEIGHBOURHOOD)
    return (edge > 0).astype(np.float32) * np.float32(LARGEST_WEIGHT)


def signed_distance(label: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The distance to the nearest pixel of the other class, negative inside the pupil.

    Args:
        label: H x W uint8 of {0, 1}.

    Returns:
        H x W float32 in pixels, 1 or more outside, -1 or less inside; without a pupil the diagonal everywhere, and
        less the diagonal where there is nothing else.
    """
    height, width = label.shape
    x, y, w, h = cv2.boundingRect(label)
    if w == 0:
        return np.full(label.shape, 2 * half_diagonal(height, width), np.float32)
    if label.all():
        return np.full(label.shape, -2 * half_diagonal(height, width), np.float32)
    distance = _distance(1 - label)
    # What is nearest to a pixel inside touches the pupil, so that a margin of one pixel is all it takes.
    box = np.s_[max(0, y - 1) : y + h + 1, max(0, x - 1) : x + w + 1]
    distance[box] -= _distance(np.ascontiguousarray(label[box]))
    return distance


def _distance(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The distance to the nearest 0: 0 there, exact elsewhere."""
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # OpenCV's last bit changes from call to call; the squares are whole numbers, so that their roots can be made exact.
    squares = np.rint(np.square(distance, out=distance), out=distance)
    return np.sqrt(squares, out=squares)


def moments_ellipse(label: NDArray[np.uint8]) -> Numbers:
    """The upright ellipse with the mask's centre and spread.

    Args:
        label: H x W uint8 of {0, 1}.

    Returns:
        (cx, cy, 2 sd of x, 2 sd of y) in pixels, the first pixel's centre being 0; `NO_ELLIPSE` for an empty mask.
    """
    m = cv2.moments(label, binaryImage=True)
    if m["m00"] == 0:
        return NO_ELLIPSE
    rx, ry = (2 * math.sqrt(max(0.0, m[key]) / m["m00"]) for key in ("mu20", "mu02"))
    return m["m10"] / m["m00"], m["m01"] / m["m00"], rx, ry


def normalised(ellipse: Numbers, shape: tuple[int, int]) -> Numbers:
    """(cx / W, cy / H, rx / R, ry / R) of an ellipse in pixels of a picture of `shape` (H, W); R: half its diagonal."""
    (cx, cy, rx, ry), (height, width), scale = ellipse, shape, half_diagonal(*shape)
    return cx / width, cy / height, rx / scale, ry / scale


def in_pixels(ellipse: Numbers, shape: tuple[int, int]) -> Numbers:
    """(cx, cy, rx, ry) in pixels of a normalised ellipse: the inverse of `normalised`."""
    (cx, cy, rx, ry), (height, width), scale = ellipse, shape, half_diagonal(*shape)
    return cx * width, cy * height, rx * scale, ry * scale


def resized(ellipse: Numbers, before: tuple[int, int], after: tuple[int, int]) -> Numbers:
    """An ellipse in pixels of a picture of shape `before` (H, W), after stretching that to shape `after`.

    The first pixel's centre is 0 in both, and half a pixel from the edge, hence the halves.
    """
    (cx, cy, rx, ry), y, x = ellipse, after[0] / before[0], after[1] / before[1]
    return (cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5, rx * x, ry * y

"""Resize by stretching: area averaging where an axis shrinks, linear interpolation where it grows or hardly shrinks.

OpenCV's own area mode silently becomes linear as soon as one axis grows, so the axes are done in two steps then. Where
both shrink by less than `HARDLY`, which is all that is left after a JPEG was decoded at a reduced scale, linear
interpolation still touches every pixel and takes a sixth of the time.
"""

import cv2
import numpy as np

HARDLY = 1.5


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Stretch `image` to `width` x `height` pixels; the aspect ratio is not kept.

    Args:
        image: HxW or HxWxC, uint8 or float32, not empty.
        width: pixels, at least 1.
        height: pixels, at least 1.

    Returns:
        A new array of the same dtype and number of axes.

    Raises:
        ValueError: a side is below 1.
    """
    if width < 1 or height < 1:
        raise ValueError(f"resize to {width}x{height}: both sides must be at least 1 pixel")
    old_height, old_width = image.shape[:2]
    shrunk_width, shrunk_height = min(width, old_width), min(height, old_height)
    if old_width < HARDLY * width and old_height < HARDLY * height:
        shrunk_width, shrunk_height = old_width, old_height
    if (shrunk_width, shrunk_height) != (old_width, old_height):
        shrunk = cv2.resize(image, (shrunk_width, shrunk_height), interpolation=cv2.INTER_AREA)
    else:
        shrunk = image.copy()
    if (shrunk_width, shrunk_height) != (width, height):
        shrunk = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)
    return shrunk.reshape(height, width, *image.shape[2:])  # OpenCV drops an axis of length 1

"""One frame as read, made into the arrays of `visage.eyes.prepared`.

Stored maps are taken at their own size only and only where they agree with the label: published sets hold mirrored
copies whose maps were left as they were. In every other case they are computed, which takes milliseconds.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.eyes.maps import (
    NO_ELLIPSE,
    in_pixels,
    moments_ellipse,
    normalised,
    resized,
    signed_distance,
    spatial_weights,
)
from visage.eyes.prepared import LARGEST_WEIGHT
from visage.io.eye_frames import EyeFrame, Rejected
from visage.vision.resize import resize


@dataclass(frozen=True, eq=False)
class Converted:
    """A frame's row of each array (see `EyeSet`), and facts for the index and the metrics.

    area: pixels of the pupil in the prepared frame. maps: where weights and distance are from, "computed", "stored" or
    "replaced" (stored, but in conflict with the label).
    """

    sample_id: str
    source: str
    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    weights: NDArray[np.uint8]
    distance: NDArray[np.float16]
    ellipse: NDArray[np.float32]
    area: int
    maps: str
    preprocessed: bool


def convert(frame: EyeFrame, height: int, width: int, ellipse: str) -> Converted | Rejected:
    """Bring a frame to `height` x `width` pixels, both even.

    Args:
        frame: of any size.
        height: pixels, downwards.
        width: pixels, across.
        ellipse: "moments" or "stored".

    Returns:
        The arrays' rows, or why there are none.
    """
    native, wanted = frame.label.shape, (height, width)
    target = moments_ellipse(frame.label)
    if ellipse == "stored" and not math.isnan(target[0]):
        if frame.ellipse is None:
            return Rejected(frame.sample_id, "no stored ellipse: use eyes.prepare.ellipse=moments")
        stored = in_pixels(frame.ellipse, native)
        away = math.hypot(stored[0] - target[0], stored[1] - target[1])
        if away > max(2.0, 0.5 * min(target[2:])):
            reason = f"stored ellipse off its pupil ({away:.0f} pixels): use eyes.prepare.ellipse=moments"
            return Rejected(frame.sample_id, reason)
        target = stored
    label = resize_label(frame.label, height, width)
    weights, distance, maps = _maps(frame, label)
    small = cv2.resize(distance, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    area = int(np.count_nonzero(label))
    # A pupil of a few pixels may vanish in the resize: the prepared frame decides what is empty.
    numbers = normalised(resized(target, native, wanted), wanted) if area else NO_ELLIPSE
    return Converted(
        frame.sample_id,
        frame.source,
        resize(frame.image, width, height),
        np.packbits(label, axis=-1),
        np.rint(np.minimum(weights, LARGEST_WEIGHT) * np.float32(255 / LARGEST_WEIGHT)).astype(np.uint8),
        small.astype(np.float16),
        np.array(numbers, np.float32),
        area,
        maps,
        frame.preprocessed,
    )


def resize_label(label: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Stretch a mask, H x W uint8 of {0, 1}, to `height` x `width`, keeping its share of the area.

    The pixels that it covers most are taken, as many as make up its area. A threshold of one half would not do: at half
    size one edge pixel in four is covered by exactly half, and small pupils would change by up to 6 %.
    """
    if label.shape == (height, width):
        return label
    soft = resize(cv2.GaussianBlur(label.astype(np.float32), (5, 5), 0.7), width, height).reshape(-1)
    result = np.zeros(soft.size, np.uint8)
    count = round(np.count_nonzero(label) * soft.size / label.size)
    if count:
        limit = np.partition(soft, -count)[-count]
        result[soft > limit] = 1
        # Evenly among equals, so that they pull the mask to no side.
        equal = np.flatnonzero(soft == limit)
        missing = count - np.count_nonzero(result)
        result[equal[np.arange(missing) * len(equal) // missing]] = 1
    return result.reshape(height, width)


def _maps(frame: EyeFrame, label: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
    if frame.weights is None or frame.distance is None or label.shape != frame.label.shape:
        return spatial_weights(label), signed_distance(label), "computed"
    weights, distance = frame.weights, frame.distance
    if not label.any():
        # Those who published maps differ in what an absent class is; here it is the diagonal.
        return np.zeros_like(weights), signed_distance(label), "stored"
    # Edge weights lie within a few pixels of the edge; a mirrored copy's heaviest are elsewhere.
    heaviest = np.abs(distance[weights >= 0.9 * LARGEST_WEIGHT])
    if np.array_equal(distance < 0, label > 0) and heaviest.size and float(np.median(heaviest)) < 5:
        return weights, distance, "stored"
    return spatial_weights(label), signed_distance(label), "replaced"

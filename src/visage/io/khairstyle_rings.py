"""K-Hairstyle's polygons: a mask as rings of points, and rings as a mask.

Each ring is filled by itself, so a ring cannot cut a hole into another: a face that hair encloses would fill up. Hair
with holes is therefore cut into pieces through its holes, and the pieces, side by side, are what is drawn.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

CROP = 512  # pixels a side of the crop that polygons are drawn on; every other set is scaled from it
HAIR, FACE = "polygon1", "polygon2"
Ring = NDArray[np.float64]  # n x 2: (x, y) in the crop
FIDELITY = 0.98  # least IoU of what is read with what was drawn
# Tolerance of the outline in pixels, least share of the picture of a part or hole: the last is exact.
COARSENESS = ((1.0, 1e-4), (0.5, 2e-5), (0.0, 0.0))


def fill_rings(rings: list[Ring], size: int) -> NDArray[np.uint8]:
    """Draw rings, each filled by itself, on a picture of `size` x `size` pixels: uint8 of {0, 255}.

    Points are rounded to pixels, not cut off, which would move hair up and left by half a pixel.
    """
    mask = np.zeros((size, size), np.uint8)
    for ring in rings:
        scaled = (ring + 0.5) * (size / CROP) - 0.5  # between centres of pixels
        cv2.fillPoly(mask, [np.rint(scaled).astype(np.int32)], 255)
    return mask


def to_rings(mask: NDArray[np.uint8]) -> list[Ring]:
    """The polygons of a mask, S x S uint8 of {0, 1}, in the 512 x 512 crop: none for a mask without hair.

    Outlines are as coarse as leaves an IoU of at least 0.98 between the mask and what `fill_rings` makes of them; hair
    of a few pixels is drawn exactly.
    """
    size = len(mask)
    rings: list[Ring] = []
    for tolerance, least in COARSENESS:
        pixels = list(_pieces(mask, tolerance, least * mask.size))
        rings = [np.round((ring + 0.5) * (CROP / size) - 0.5, 4) for ring in pixels]
        drawn = fill_rings(rings, size) > 0
        if np.count_nonzero(drawn & (mask > 0)) >= FIDELITY * np.count_nonzero(drawn | (mask > 0)):
            break
    return rings


def _pieces(mask: NDArray[np.uint8], tolerance: float, least: float) -> Iterator[NDArray[np.float64]]:
    """Rings without holes that cover `mask`, but for parts and holes of fewer than `least` pixels."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    for number in range(1, count):
        left, top, width, height, area = stats[number]
        if area < least:
            continue
        part = (labels[top : top + height, left : left + width] == number).astype(np.uint8)
        outlines, tree = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        holes = [line for line, (_, _, _, parent) in zip(outlines, tree[0], strict=True) if parent >= 0]
        largest = max(holes, key=cv2.contourArea, default=None)
        if largest is not None and cv2.contourArea(largest) > least:
            x, _, hole, _ = cv2.boundingRect(largest)
            cut = x + hole // 2
            pieces = ((part[:, :cut], left), (part[:, cut:], left + cut))
            for piece, at in pieces:
                moved = _pieces(np.ascontiguousarray(piece), tolerance, least)
                yield from (ring + np.array((at, top), np.float64) for ring in moved)
            continue
        outline = next(line for line, (_, _, _, parent) in zip(outlines, tree[0], strict=True) if parent < 0)
        points = cv2.approxPolyDP(outline, tolerance, closed=True).reshape(-1, 2).astype(np.float64)
        # The last point again: one or two are no ring.
        repeated = np.minimum(np.arange(max(3, len(points))), len(points) - 1)
        yield points[repeated] + np.array((left, top), np.float64)

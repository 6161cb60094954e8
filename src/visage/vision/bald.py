"""Pictures without their hair: what an inpainting network starts from."""

import cv2
import numpy as np
from numpy.typing import NDArray

# Share of the shorter side by which the mask grows: 15 px of 512. Less leaves the strands that the outline missed.
GROWTH = 15 / 512
RADIUS = 5  # pixels from which OpenCV takes the colours
# Largest area at which OpenCV's filling is done as it is; a larger one is filled small and brought back.
WORK_SIDE = 512


def grow(mask: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """`mask` (H x W, not 0 is hair), wider by `pixels` in every direction: uint8 of {0, 255}."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate((mask != 0).astype(np.uint8) * 255, kernel).astype(np.uint8, copy=False)


def remove_hair(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], growth: float = GROWTH
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Fill the hair from what is around it (Telea, JGT 2004).

    Args:
        image: H x W x 3 uint8.
        mask: H x W, not 0 where there is hair.
        growth: of the mask, as a share of the shorter side.

    Returns:
        The picture, bit for bit `image` outside the filled area, and that area, uint8 of {0, 255}: never smaller than
        the hair. Where it is the whole picture there is nothing to fill from: all becomes the picture's mean.
    """
    height, width = mask.shape
    area = grow(mask, max(1, round(growth * min(height, width)))) if mask.any() else np.zeros_like(mask, np.uint8)
    if not area.any():
        return image.copy(), area
    if area.all():
        return np.broadcast_to(image.mean((0, 1)).round().astype(np.uint8), image.shape).copy(), area
    scale = min(1.0, WORK_SIDE / min(height, width))
    if scale < 1:
        size = round(width * scale), round(height * scale)
        small_area = (cv2.resize(area, size, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
        small = cv2.inpaint(
            cv2.resize(image, size, interpolation=cv2.INTER_AREA), small_area, RADIUS, cv2.INPAINT_TELEA
        )
        filled = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        filled = cv2.inpaint(image, area, RADIUS, cv2.INPAINT_TELEA)
    return np.where(area[..., None] != 0, filled, image), area

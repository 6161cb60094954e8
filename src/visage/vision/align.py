"""Faces brought to the place where face embedders expect them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.vision.resize import resize

# ArcFace's template (Deng et al., CVPR 2019) for 112 x 112: eyes, nose, corners of the mouth, the picture's left first.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float64
)
SIDE = 112


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """The similarity transform (2 x 3) that takes points `source` (N x 2) nearest to `target` in least squares
    (Umeyama, PAMI 1991)."""
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    mean_s, mean_t = source.mean(0), target.mean(0)
    from_s, from_t = source - mean_s, target - mean_t
    u, sizes, vt = np.linalg.svd(from_t.T @ from_s / len(source))
    signs = np.array((1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0))
    rotation = u * signs @ vt
    scale = float((sizes * signs).sum() / max(from_s.var(0).sum(), 1e-12))
    return np.column_stack((scale * rotation, mean_t - scale * rotation @ mean_s))


def align(image: NDArray[np.uint8], points: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The face with five `points` (5 x 2) of `image` (H x W x 3) as 112 x 112 x 3, in the template's place."""
    matrix = similarity(points, TEMPLATE)
    aligned = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return aligned.astype(np.uint8, copy=False)


def crop_square(
    image: NDArray[np.uint8], box: tuple[float, float, float, float], side: int, margin: float = 0.0
) -> NDArray[np.uint8]:
    """The square about `box` (x0, y0, x1, y1), larger by `margin` of its longer side, as side x side x C; 0 where it
    passes the picture's border."""
    x0, y0, x1, y1 = box
    length = max(1, round(max(x1 - x0, y1 - y0) * (1 + margin)))
    left, top = round((x0 + x1 - length) / 2), round((y0 + y1 - length) / 2)
    square = np.zeros((length, length, *image.shape[2:]), np.uint8)
    part = image[max(0, top) : max(0, top + length), max(0, left) : max(0, left + length)]
    at_y, at_x = min(length, max(0, -top)), min(length, max(0, -left))
    rows, columns = min(part.shape[0], length - at_y), min(part.shape[1], length - at_x)
    square[at_y : at_y + rows, at_x : at_x + columns] = part[:rows, :columns]
    return resize(square, side, side)

"""A picture as a network takes it, the same in training and serving: `fit` (uint8), then `normalise` (float32).

The two are apart because training stores fitted uint8 pictures and normalises after augmentation. Grey comes before the
resize, so that a picture decoded as grey and one decoded as RGB end in the same bits; padding is the mean, which
becomes 0 (within half a grey level).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.export.card import Preprocessing
from visage.vision.resize import resize


def preprocess(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """HxWx3 uint8 RGB (or HxW uint8 grey, for "GRAY") of any size -> float32 (C, height, width)."""
    return normalise(fit(image, preprocessing), preprocessing)


def fit(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The picture in the card's colour and size: uint8 (height, width, 3) for RGB, (height, width) for GRAY."""
    if preprocessing.colour == "GRAY" and image.ndim == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    assert image.dtype == np.uint8
    assert image.shape[2:] == ((3,) if preprocessing.colour == "RGB" else ())
    left, top, width, height = placement(image.shape[0], image.shape[1], preprocessing)
    resized = resize(image, width, height)
    if (width, height) == (preprocessing.width, preprocessing.height):
        return resized
    padding = np.rint(np.array(preprocessing.mean) * 255).clip(0, 255).astype(np.uint8)
    canvas = np.empty((preprocessing.height, preprocessing.width, *image.shape[2:]), np.uint8)
    canvas[:] = padding if image.ndim == 3 else padding[0]
    canvas[top : top + height, left : left + width] = resized
    return canvas


def placement(height: int, width: int, preprocessing: Preprocessing) -> tuple[int, int, int, int]:
    """(left, top, width, height) in input pixels of where a height x width picture lies in the network's input.

    The whole input for "stretch"; for "letterbox" the largest centred box of the picture's aspect, at least 1 pixel.
    """
    if preprocessing.resize == "stretch":
        return 0, 0, preprocessing.width, preprocessing.height
    scale = min(preprocessing.width / width, preprocessing.height / height)
    box_width, box_height = max(1, round(width * scale)), max(1, round(height * scale))
    return (preprocessing.width - box_width) // 2, (preprocessing.height - box_height) // 2, box_width, box_height


def normalise(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(pixels / 255 - mean) / std, every step in float32: uint8 (H, W, 3) or (H, W) -> contiguous float32 (C, H, W).

    Bit for bit what torchvision's to_tensor and normalize give.
    """
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    scaled = np.ascontiguousarray(planes, np.float32)
    scaled /= np.float32(255)
    scaled -= mean
    scaled /= std
    return scaled

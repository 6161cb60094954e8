"""PNG files with transparency: what is hidden is not in the file, and reading keeps the fourth channel."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError
from visage.io.images import read_file

COMPRESSION = 4


def encode_rgba(image: NDArray[np.uint8]) -> bytes:
    """Encode H x W x 4 uint8 RGBA as PNG.

    Raises:
        ValueError: a pixel of alpha 0 has a colour, which whoever drops alpha would see.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 4:
        raise ValueError(f"{image.shape} {image.dtype} is no RGBA picture")
    if image[image[..., 3] == 0].any():
        raise ValueError("colours under alpha 0: set them to 0")
    done, buffer = cv2.imencode(
        ".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION]
    )
    assert done
    return buffer.tobytes()


def read_rgba(path: Path) -> NDArray[np.uint8]:
    """An RGBA PNG as H x W x 4 uint8.

    Raises:
        BadImageError: unreadable, damaged, or without alpha; names the file.
    """
    stored = cv2.imdecode(np.frombuffer(read_file(path, str(path)), np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.ndim != 3 or stored.shape[2] != 4 or stored.dtype != np.uint8:
        raise BadImageError(f"{path}: damaged, or no RGBA picture: prepare it again")
    return cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA).astype(np.uint8, copy=False)

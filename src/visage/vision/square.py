"""The square of a picture of any size and aspect that is worked on, and its way back into the picture.

Networks were trained on squares with one head in the middle: hair about half as wide as the square, its top an eighth
below the square's (the median of the prepared pictures). A picture that is about square and shows no tiny head is taken
whole, as it was in training; of any other, the square that brings the hair to that place. Width decides, since the
height of hair is its length; the height only keeps long hair inside.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

ABOUT_SQUARE = 1.15  # longer over shorter side
TINY = 0.3  # of the longer side: narrower hair is a head far away
WIDTH, HEIGHT, ABOVE = 0.5, 0.8, 0.13  # of the square: hair's width, the most of hair and face's height, room above
FACE, FACE_ABOVE = 0.4, 0.28  # of the square about a face: its height, and the room above it
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Square:
    """Of a picture, in its pixels; it may pass the borders."""

    left: int
    top: int
    side: int

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The square of `image` (H x W or H x W x C); past the borders the border's pixels go on."""
        height, width = image.shape[:2]
        rows = np.arange(self.top, self.top + self.side).clip(0, height - 1)
        columns = np.arange(self.left, self.left + self.side).clip(0, width - 1)
        return np.ascontiguousarray(image[rows][:, columns])

    def laid(self, part: NDArray[np.uint8], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of `image` with `part`, side x side, in the square's place."""
        height, width = image.shape[:2]
        x0, y0 = max(0, self.left), max(0, self.top)
        x1, y1 = min(width, self.left + self.side), min(height, self.top + self.side)
        out = image.copy()
        out[y0:y1, x0:x1] = part[y0 - self.top : y1 - self.top, x0 - self.left : x1 - self.left]
        return out

    def inside(self, box: Box) -> Box:
        """`box` (x0, y0, x1, y1) of the picture as shares of the square."""
        x0, y0, x1, y1 = box
        left, top, side = self.left, self.top, self.side
        return (x0 - left) / side, (y0 - top) / side, (x1 - left) / side, (y1 - top) / side


def frame(hair: NDArray[np.uint8], face: Box | None = None) -> Square:
    """The square about `hair` (H x W, not 0 somewhere) and the face, see the module."""
    height, width = hair.shape
    left, top, wide, high = cv2.boundingRect((hair != 0).astype(np.uint8))
    longer = max(height, width)
    if longer <= ABOUT_SQUARE * min(height, width) and wide >= TINY * longer:
        return Square((width - longer) // 2, (height - longer) // 2, longer)
    right, bottom = left + wide, top + high
    if face is not None:
        left, top = min(left, int(face[0])), min(top, int(face[1]))
        right, bottom = max(right, round(face[2])), max(bottom, round(face[3]))
    side = max(1, round(max((right - left) / WIDTH, (bottom - top) / HEIGHT)))
    return Square(_within((left + right - side) / 2, side, width), _within(top - ABOVE * side, side, height), side)


def about_face(face: Box) -> Square:
    """The square where the hair of the head with this face is looked for: as prepared pictures have it, and somewhat
    wider, for long hair."""
    side = max(1, round((face[3] - face[1]) / FACE))
    return Square(round((face[0] + face[2] - side) / 2), round(face[1] - FACE_ABOVE * side), side)


def _within(start: float, side: int, length: int) -> int:
    """`start` moved so that the square stays in the picture, or holds it where it is the larger one."""
    lowest, highest = sorted((0, length - side))
    return int(np.clip(round(start), lowest, highest))

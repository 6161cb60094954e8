"""One picture with its hair as read, made into what is stored of it, and judged by its mask.

A mask is suspicious, not wrong: people without hair exist. Such pictures stay, are counted, and are shown on the sheet
for a person to look at.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.export.card import Preprocessing
from visage.io.hair_frames import Attribute, HairFrame
from visage.vision.normalise import fit, placement
from visage.vision.resize import resize

EMPTY, NEARLY_FULL, MANY_PIECES = "empty", "nearly full", "many pieces"
SUSPICIOUS = (EMPTY, NEARLY_FULL, MANY_PIECES)
FULL_SHARE = 0.85  # of the picture; of 96 drawn ones the fullest has 0.36, and an inverted mask mostly has more
PIECES = 8  # more parts than this
PIECE_SHARE = 1e-4  # of the picture; smaller parts are strands


@dataclass(frozen=True, eq=False)
class Converted:
    """What is stored of one picture.

    image: S x S x 3 uint8. alpha: S x S uint8. box: left, top, width, height of the picture inside. file_size: height,
    width of the picture as read. share: of the picture that hair covers, 0 to 1. suspicious: "" or one of
    `SUSPICIOUS`.
    """

    sample_id: str
    source: str
    file: str
    image: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    box: tuple[int, int, int, int]
    file_size: tuple[int, int]
    share: float
    suspicious: str
    attributes: Mapping[str, Attribute]
    unknown: tuple[str, ...]


def convert(frame: HairFrame, preprocessing: Preprocessing) -> Converted:
    """Bring a picture and its coverage to the square of `preprocessing`, its aspect kept."""
    height, width = frame.image.shape[:2]
    box = placement(height, width, preprocessing)
    left, top, inner_width, inner_height = box
    inside = resize(frame.alpha, inner_width, inner_height)
    alpha = np.zeros((preprocessing.height, preprocessing.width), np.uint8)
    alpha[top : top + inner_height, left : left + inner_width] = inside
    return Converted(
        frame.sample_id,
        frame.source,
        frame.file,
        fit(frame.image, preprocessing),
        alpha,
        box,
        (height, width),
        float(inside.mean()) / 255,
        judge(inside),
        frame.attributes,
        frame.unknown,
    )


def judge(alpha: NDArray[np.uint8]) -> str:
    """What is suspicious about a mask, H x W uint8 coverage of one picture without its padding: "" for nothing."""
    mask = (alpha >= 128).astype(np.uint8)
    covered = np.count_nonzero(mask)
    if not covered:
        return EMPTY
    if covered > FULL_SHARE * mask.size:
        return NEARLY_FULL
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    pieces = np.count_nonzero(stats[1:, cv2.CC_STAT_AREA] >= PIECE_SHARE * mask.size)
    return MANY_PIECES if pieces > PIECES else ""

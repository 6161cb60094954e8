"""A contact sheet: a few pictures of each class in each split on one small PNG, to see that a data set is right.

Sheets are kept in git, so one must stay below 200 kB: colours are cut to 5 bits, which halves a PNG and hides
nothing a person looks for, and then pictures and classes are left out until it fits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from visage.io.images import encode_png, read_image
from visage.vision.resize import resize

MAX_BYTES = 200_000
LAYOUTS = ((12, 3), (8, 3), (12, 2), (8, 2), (12, 1), (8, 1), (4, 1), (2, 1), (1, 1))  # classes, pictures a split
TILE, GAP, NAME_WIDTH, LINE = 64, 4, 150, 22  # pixels


def contact_sheet(pictures: Mapping[str, Mapping[str, Sequence[Path]]]) -> bytes:
    """Draw the sheet of `pictures[class][split]` (paths), a row for each class, as PNG of at most MAX_BYTES.

    Args:
        pictures: not empty; every class has the same splits, each with any number of paths.

    Raises:
        BadImageError: a picture cannot be read.
    """
    for classes, number in LAYOUTS:
        content = encode_png(_draw(pictures, classes, number))
        if len(content) <= MAX_BYTES:
            return content
    raise AssertionError("three tiles cannot take 200 kB")


def _draw(pictures: Mapping[str, Mapping[str, Sequence[Path]]], classes: int, number: int) -> np.ndarray:
    names = _spread(sorted(pictures), classes)
    splits = list(pictures[names[0]])
    step, width = TILE + GAP, number * (TILE + GAP) + GAP
    sheet = np.full((LINE + step * len(names), NAME_WIDTH + width * len(splits), 3), 255, np.uint8)
    _write(sheet, f"{len(names)} of {len(pictures)} classes", 0, LINE - 7)
    for column, split in enumerate(splits):
        total = sum(len(pictures[name][split]) for name in pictures)
        _write(sheet, f"{split} {total}", NAME_WIDTH + column * width, LINE - 7)
    for row, name in enumerate(names):
        top = LINE + row * step
        _write(sheet, name if len(name) <= 16 else name[:15] + "~", 4, top + TILE // 2 + 4)
        for column, split in enumerate(splits):
            for place, path in enumerate(_spread(pictures[name][split], number)):
                left = NAME_WIDTH + column * width + place * step
                sheet[top : top + TILE, left : left + TILE] = resize(read_image(path), TILE, TILE) & 0xF8 | 0x04
    return sheet


def _spread(values: Sequence, number: int) -> list:
    """At most `number` of `values`, evenly spaced."""
    number = min(number, len(values))
    return [values[index * len(values) // number] for index in range(number)]


def _write(sheet: np.ndarray, text: str, left: int, bottom: int) -> None:
    cv2.putText(sheet, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)

"""The sheet that shows what `prepare_inpaint` made: a row of pictures for each of a few originals."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.inpaint.record import Row
from visage.io.images import read_image
from visage.io.rgba import read_rgba
from visage.vision.sheet import contact_sheet, write_sheet

SHOWN, TILE = 5, 150
EDGE, BOX = (255, 60, 60), (80, 255, 80)
CHECKS = 8  # pixels of the squares that stand for transparency


def write_samples(folder: Path, rows: Sequence[Row], seed: int, path: Path) -> None:
    """The original with what is filled and the face, bald, hair alone, style image, and a patch, of a few originals:
    those with the most and the least hair and some at random."""
    order = sorted(range(len(rows)), key=lambda index: rows[index].hair_share)
    chosen = {order[0], order[-1], *np.random.default_rng(seed).permutation(len(rows))[: SHOWN - 2].tolist()}
    tiles = [tile for index in sorted(chosen) for tile in _tiles(folder, rows[index])]
    write_sheet(path, contact_sheet(tiles, 5, TILE))


def _tiles(folder: Path, row: Row) -> list[tuple[NDArray[np.uint8], str]]:
    marked = read_image(folder / row.image)
    outlines, _ = cv2.findContours(read_image(folder / row.mask)[..., 0], cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(marked, outlines, -1, EDGE, max(1, len(marked) // 160))
    if row.face is not None:
        x0, y0, x1, y1 = (round(value) for value in row.face)
        cv2.rectangle(marked, (x0, y0), (x1, y1), BOX, max(1, len(marked) // 160))
    patch = read_image(folder / row.patches[0]) if row.patches else np.full((8, 8, 3), 250, np.uint8)
    return [
        (marked, f"{row.id} ({row.split})"),
        (read_image(folder / row.bald), "bald"),
        (_over_checks(read_rgba(folder / row.hair_only)), "hair alone"),
        (_over_checks(read_rgba(folder / row.style)), "style"),
        (patch, f"{row.num_patches} patches"),
    ]


def _over_checks(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA over a grey chequerboard: RGB."""
    y, x = np.indices(picture.shape[:2]) // CHECKS
    ground = np.where((y + x) % 2, 205, 235).astype(np.uint8)[..., None]
    return np.where(picture[..., 3:] != 0, picture[..., :3], ground)

"""The sheet by which a person judges prepared hair: pictures with their masks laid over, four questions in four rows.

Random ones show what is usual, the smallest and the largest masks what is missed or spilt, and the suspicious ones what
is most likely wrong. Hair is tinted, and its edge drawn, so that both the area and the outline can be judged.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.hair.convert import SUSPICIOUS
from visage.hair.prepared import HairSet
from visage.vision.sheet import PAPER, contact_sheet, write_sheet

SHOWN, TILE = 6, 150  # pictures in a row, pixels a side
TINT, EDGE = np.array((255, 40, 140), np.float32), (90, 255, 120)


def write_samples(hair: HairSet, shares: Sequence[float], seed: int, path: Path) -> None:
    """Write the sheet as a PNG of at most 200 KB.

    Args:
        hair: the prepared pictures.
        shares: of each picture that hair covers.
        seed: of the choice of random ones.
        path: the file to write.
    """
    by_share = np.argsort(np.asarray(shares), kind="stable")
    covered = [int(row) for row in by_share if hair.rows[row]["suspicious"] != SUSPICIOUS[0]]
    suspicious = [row for kind in SUSPICIOUS for row, facts in enumerate(hair.rows) if facts["suspicious"] == kind]
    chosen = np.random.default_rng(seed).permutation(len(hair.rows))[:SHOWN]
    rows = {
        "random": sorted(int(row) for row in chosen),
        "smallest": covered[:SHOWN],
        "largest": covered[::-1][:SHOWN],
        "suspicious": _spread(suspicious),
    }
    tiles: list[tuple[np.ndarray, str]] = []
    for name, shown in rows.items():
        tiles += [(overlay(hair.images[row], hair.alphas[row]), _caption(hair, name, row, shares)) for row in shown]
        tiles += [(np.full((TILE, TILE, 3), PAPER, np.uint8), "")] * (SHOWN - len(shown))
    write_sheet(path, contact_sheet(tiles, SHOWN, TILE))


def overlay(image: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` (S x S x 3 uint8 RGB) with its hair tinted by coverage and its edge, at half coverage, outlined."""
    weight = alpha.astype(np.float32)[..., None] * np.float32(0.4 / 255)
    result = np.rint(image + (TINT - image) * weight).astype(np.uint8)
    outlines, _ = cv2.findContours((alpha >= 128).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(result, outlines, -1, EDGE, 1), np.uint8)


def _caption(hair: HairSet, name: str, row: int, shares: Sequence[float]) -> str:
    return f"{hair.rows[row]['suspicious'] or name} {100 * shares[row]:.1f}%"


def _spread(rows: list[int]) -> list[int]:
    """As many as the sheet shows, evenly from the list, so that each kind is among them."""
    return [rows[index] for index in np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)]

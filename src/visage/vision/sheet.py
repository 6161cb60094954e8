"""Contact sheets: pictures in a grid with a line of text each, small enough to be kept in git.

Captions are drawn with OpenCV's built-in font, which is the same everywhere; a system font would make other bytes on
another machine.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from visage.io.atomic import write_bytes

FONT = cv2.FONT_HERSHEY_SIMPLEX
PAPER, INK = 250, (40, 40, 40)
CAPTION_PX = 14
GAP_PX = 6
MAX_BYTES = 200_000


def contact_sheet(
    tiles: Sequence[tuple[np.ndarray, str]],
    columns: int,
    tile: int,
) -> np.ndarray:
    """A grid of `tiles` (HxWx3 uint8 RGB, caption), each fitted into tile x tile pixels."""
    rows = max(1, -(-len(tiles) // columns))
    cell_height, cell_width = tile + CAPTION_PX + GAP_PX, tile + GAP_PX
    sheet = np.full((rows * cell_height + GAP_PX, columns * cell_width + GAP_PX, 3), PAPER, np.uint8)
    for index, (image, caption) in enumerate(tiles):
        top, left = GAP_PX + index // columns * cell_height, GAP_PX + index % columns * cell_width
        scale = tile / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        y, x = top + (tile - size[1]) // 2, left + (tile - size[0]) // 2
        sheet[y : y + size[1], x : x + size[0]] = small
        text = caption.encode("ascii", "replace").decode()
        cv2.putText(sheet, text, (left, top + tile + CAPTION_PX - 3), FONT, 0.36, INK, 1, cv2.LINE_AA)
    return sheet


def write_sheet(path: Path, sheet: np.ndarray) -> None:
    """Write `sheet` as a PNG of at most `MAX_BYTES`, halving its colours and then its size until it fits."""
    for levels, shrink in ((256, 1.0), (64, 1.0), (32, 1.0), (64, 0.75), (32, 0.6), (16, 0.5), (16, 0.25)):
        small = cv2.resize(sheet, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else sheet
        step = 256 // levels
        levelled = small if step == 1 else np.minimum(small // step * step + step // 2, 255).astype(np.uint8)
        ok, content = cv2.imencode(".png", cv2.cvtColor(levelled, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 6])
        assert ok
        if len(content) <= MAX_BYTES:
            break
    write_bytes(path, content.tobytes())

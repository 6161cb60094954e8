"""Pictures of the evaluation: bald, mask, reference, result and truth side by side, and the rows of histograms."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visage.vision.sheet import contact_sheet, write_sheet

TILE = 116
IN_HISTOGRAMS = ("hair_psnr", "delta_e", "contrast_share")


def sheet(path: Path, bench: Any, rows: Sequence[int], styles: Sequence[int], painted: Sequence[np.ndarray]) -> None:
    """A row of five for each of pictures `rows`, painted in the style of `styles`; two pictures a line.

    bench: the Bench of the evaluation.
    """
    tiles = []
    for row, style in zip(rows, styles, strict=True):
        mask = np.repeat(bench.pictures.paint(row)[..., None] * np.uint8(255), 3, axis=2)
        tiles += [
            (bench.pictures.bald(row), "bald"),
            (mask, "mask"),
            (bench.pictures.image(style), "reference"),
            (painted[row], "result"),
            (bench.pictures.image(row), "truth"),
        ]
    write_sheet(path, contact_sheet(tiles, 10, TILE))


def histogram(measured: Mapping[str, Sequence[Mapping[str, float | None]]]) -> list[dict[str, Any]]:
    """A row for each picture, way and metric: what `dvc plots` counts in bins."""
    return [
        {"metric": metric, "way": way, "value": round(float(value), 2)}
        for metric in IN_HISTOGRAMS
        for way, pictures in measured.items()
        for picture in pictures
        if (value := picture.get(metric)) is not None and np.isfinite(value)
    ]

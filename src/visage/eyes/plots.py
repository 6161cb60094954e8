"""The plots of `evaluate_eyes`: how far centres are off, what was answered, and how the losses fell.

A closed eye has no place on a sheet: there is nothing to outline, and its false alarms are counted instead.
"""

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError
from visage.eyes.measure import Answers, Measured, Numbers
from visage.eyes.prepared import EyeSet
from visage.vision.sheet import contact_sheet

# Steps of the histogram of centre errors, and its last bin's end, in pixels.
BIN_PX, LAST_PX = 0.5, 20.0
SHOWN, TILE = 4, 240
TRUE_INK, SAID_INK = (80, 255, 80), (255, 60, 60)
SPLITS = ("train", "valid")
LOSS = "loss"


def losses(model: str, path: Path) -> Iterator[dict[str, str | float]]:
    """Rows (model, part, split, epoch, value) of the loss and its components in a trainer's history at `path`.

    Raises:
        DataError: the history is not there.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there: train {model} again (dvc repro)")
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for split in SPLITS:
                for name, value in row.items():
                    part = name.removeprefix(f"{split}_")
                    if part != name and part.endswith(LOSS):
                        what = "total" if part == LOSS else part.removesuffix(f"_{LOSS}")
                        yield {"model": model, "part": what, "split": split, "epoch": int(row["epoch"]), "value": value}


def histogram(name: str, errors: Numbers) -> list[dict[str, str | float]]:
    """Rows of bins: centre_px (where the bin ends; the last holds all beyond), share in it, share up to there."""
    if not len(errors):
        return []
    ends = np.arange(1, round(LAST_PX / BIN_PX) + 1) * BIN_PX
    within = np.array([(errors <= end).mean() for end in ends[:-1]] + [1.0])
    columns = ends, np.diff(within, prepend=0.0), within
    return [
        {"model": name, "centre_px": float(end), "share": round(float(share), 4), "within": round(float(total), 4)}
        for end, share, total in zip(*columns, strict=True)
    ]


def answers_sheet(eyes: EyeSet, measured: Measured, answer: Answers) -> NDArray[np.uint8]:
    """A row each of the best, the median and the worst answers to open eyes: truth in green, answer in red."""
    order = np.argsort(-measured.iou, kind="stable")
    middle = max(0, (len(order) - SHOWN) // 2)
    tiles = []
    for word, chosen in (("good", order[:SHOWN]), ("median", order[middle:][:SHOWN]), ("worst", order[-SHOWN:])):
        for index in chosen:
            row = measured.rows[index]
            picture = cv2.cvtColor(np.array(eyes.images[row]), cv2.COLOR_GRAY2RGB)
            for mask, ink in ((eyes.label(row), TRUE_INK), (answer(np.array([row]))[0][0], SAID_INK)):
                outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(picture, outlines, -1, ink, 1)
            error = f"{measured.errors[index]:.1f} px" if math.isfinite(measured.errors[index]) else "none found"
            tiles.append((picture, f"{word}: IoU {measured.iou[index]:.2f}, centre {error}"))
    return contact_sheet(tiles, SHOWN, TILE)


def comparison_table(table: Mapping[str, Mapping[str, float | str]]) -> str:
    """A line for each model under a header."""
    columns = {
        "pupil_iou": "pupil IoU", "picture_iou": "per picture", "centre_px": "centre px",
        "centre_px_median": "median px", "within_5px": "within 5", "parameters": "parameters", "gmacs": "GMAC",
    }  # fmt: skip
    lines = [f"{'model':8}" + "".join(f"  {head:>12}" for head in columns.values())]
    for name, row in table.items():
        lines.append(f"{name:8}" + "".join(f"  {row.get(key, '-'):>12}" for key in columns))
    return "\n".join(lines)

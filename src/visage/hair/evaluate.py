"""`evaluate_hair`: every way to a hair mask on the same pictures of people that none has seen, in one table.

An answer is a coverage of the prepared picture, however it was made; what lies outside the picture inside its square
does not count.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError
from visage.hair.answers import Answer
from visage.hair.prepared import ATTRIBUTES, HairSet, load_set
from visage.io.atomic import write_csv, write_json
from visage.metrics import mattes
from visage.metrics.rounding import rounded
from visage.tracking.tracker import track
from visage.vision.sheet import contact_sheet, write_sheet

COMPARED = ("iou", "f1", "boundary_f", "mae", "picture_iou")
# Levels at which precision and recall are given.
THRESHOLDS = tuple(range(8, 256, 8))
WORST, COLUMNS, TILE = 8, 4, 200
TRUE_INK, SAID_INK = (80, 255, 80), (255, 60, 60)


def evaluate(answers: Mapping[str, Answer], *, data: Path, metrics: Path, plots: Path) -> None:
    """Write the metrics of each of `answers` on the test pictures, by attribute too, and the plots.

    data: what prepare_hair wrote. plots: gets comparison.csv, precision_recall.csv and in worst/ a picture <name>.png
    of the answers that are furthest off.

    Raises:
        DataError: there are no test pictures.
    """
    hair = load_set(data)
    rows = hair.split("test")
    if not len(rows):
        raise DataError(f"{data} has no test pictures: give hair.prepare.test a larger share")
    with track("evaluate_hair", params={"data": data.name, "answers": sorted(answers)}) as tracker:
        counts = {name: measure(hair, rows, answer) for name, answer in answers.items()}
        table = {name: mattes.report(found) for name, found in counts.items()}
        tracker.summary({f"{name}_iou": row["iou"] for name, row in table.items()})
    whole = {name: rounded({**table[name], **by_attribute(hair, rows, counts[name])}) for name in answers}
    subjects = len({hair.rows[row]["source"] for row in rows})
    write_json(metrics, {**whole, "test_pictures": len(rows), "test_sources": subjects})
    comparison = ({"segmenter": name, **{key: whole[name][key] for key in COMPARED}} for name in answers)
    write_csv(plots / "comparison.csv", comparison, ["segmenter", *COMPARED])
    curves = [row for name, found in counts.items() for row in curve(name, found)]
    write_csv(plots / "precision_recall.csv", curves, list(curves[0]))
    for name, answer in answers.items():
        write_sheet(plots / "worst" / f"{name}.png", worst_sheet(hair, rows, counts[name], answer))
    print(f"test: {len(rows)} pictures of {subjects} people")
    print(comparison_table(whole))


def measure(hair: HairSet, rows: NDArray[np.intp], answer: Answer) -> mattes.MatteCounts:
    """The counts of the answers to `rows`, inside the pictures."""
    return mattes.joined([mattes.count(hair.alphas[row][hair.inside(row)], answer(row)[hair.inside(row)])
                          for row in rows])  # fmt: skip


def by_attribute(hair: HairSet, rows: NDArray[np.intp], counts: mattes.MatteCounts) -> dict[str, dict[str, float]]:
    """IoU of the pictures of each value of each attribute; pictures whose value is not known are left out."""
    found: dict[str, dict[str, float]] = {}
    for attribute in ATTRIBUTES:
        values = np.array([hair.rows[row][attribute] for row in rows])
        known = sorted({str(value) for value in values} - {""})
        found[attribute] = {value: mattes.report(counts.of(values == value))["iou"] for value in known}
    return found


def curve(name: str, counts: mattes.MatteCounts) -> list[dict[str, str | float]]:
    """Rows (segmenter, threshold, recall, precision), without thresholds that nothing reaches."""
    return [
        {"segmenter": name, "threshold": level, "recall": round(recall, 4), "precision": round(precision, 4)}
        for level, (precision, recall) in zip(THRESHOLDS, mattes.precision_recall(counts, THRESHOLDS), strict=True)
        if np.isfinite(precision)
    ]


def worst_sheet(hair: HairSet, rows: NDArray[np.intp], counts: mattes.MatteCounts, answer: Answer) -> NDArray[np.uint8]:
    """The answers of the smallest IoU: truth in green, answer in red. An answer where there is no hair is 0."""
    iou = np.nan_to_num(mattes.picture_iou(counts), nan=1.0)
    tiles = []
    for index in np.argsort(iou, kind="stable")[:WORST]:
        row = int(rows[index])
        picture = np.array(hair.images[row])
        for mask, ink in ((hair.mask(row), TRUE_INK), ((answer(row) >= mattes.HALF).astype(np.uint8), SAID_INK)):
            outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, outlines, -1, ink, 1)
        tiles.append((picture, f"IoU {iou[index]:.2f}"))
    return contact_sheet(tiles, COLUMNS, TILE)


def comparison_table(table: Mapping[str, Mapping[str, float | str]]) -> str:
    """A line for each segmenter under a header."""
    lines = [f"{'segmenter':12}" + "".join(f"  {name:>12}" for name in COMPARED)]
    lines += [f"{name:12}" + "".join(f"  {row[key]!s:>12}" for key in COMPARED) for name, row in table.items()]
    return "\n".join(lines)

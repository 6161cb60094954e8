"""Pictures of the texture embedding: a map of thumbnails, and the nearest neighbours of some pictures."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.inpaint.prompt import CURLS, MISSING, VOLUMES
from visage.inpaint.record import Row
from visage.inpaint.texture_data import thumbnail
from visage.inpaint.texture_measure import Seen
from visage.inpaint.texture_task import HEADS
from visage.io.atomic import write_csv
from visage.vision.sheet import contact_sheet, write_sheet

SIDE, THUMB, AT_MOST = 720, 40, 120
INKS = ((70, 110, 200), (60, 170, 90), (230, 150, 40), (200, 60, 60), (150, 150, 150))
QUERIES, NEIGHBOURS, TILE = 8, 5, 84


def write_plots(test: Seen, train: Seen, folder: Path, path: Path) -> None:
    """confusion_curl.csv, confusion_volume.csv, embedding.png and neighbours.png into `path`; folder: of the set."""
    for name, classes in HEADS.items():
        told = test.chances[name].argmax(1)
        rows = [
            {"actual": classes[truth], "predicted": classes[answer]}
            for truth, answer in zip(test.labels(name), told, strict=True)
            if truth != MISSING
        ]
        write_csv(path / f"confusion_{name}.csv", rows, ["actual", "predicted"])
    draw_map(test, folder, path / "embedding.png")
    draw_neighbours(test, train, folder, path / "neighbours.png")


def plane(embedding: NDArray[np.float64]) -> NDArray[np.float64]:
    """The two principal components of N x D embeddings: N x 2, the larger variance first, signs fixed."""
    centred = embedding - embedding.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2, [0]] + 1e-300)
    return centred @ axes.T


def draw_map(seen: Seen, folder: Path, path: Path) -> None:
    """Thumbnails at the places of their embeddings, framed in the colour of their curl."""
    places = plane(seen.embedding)
    low, high = places.min(0), places.max(0)
    canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for index in range(min(len(seen.rows), AT_MOST)):
        spread = np.where(high > low, high - low, 1)
        x, y = ((places[index] - low) / spread * (SIDE - THUMB - 4) + 2).astype(int)
        y = SIDE - THUMB - 2 - y
        canvas[y : y + THUMB, x : x + THUMB] = thumbnail(folder, seen.rows[index], THUMB)
        cv2.rectangle(canvas, (x, y), (x + THUMB, y + THUMB), INKS[seen.rows[index].curl], 2)
    for number, name in enumerate((*CURLS, "unknown")):
        cv2.putText(canvas, name, (8, 16 + 16 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INKS[number], 1, cv2.LINE_AA)
    write_sheet(path, canvas)


def draw_neighbours(test: Seen, train: Seen, folder: Path, path: Path) -> None:
    """A row for each of some test pictures: itself, then the nearest training pictures."""
    order = np.argsort(-(test.embedding @ train.embedding.T), axis=1, kind="stable")[:, :NEIGHBOURS]
    tiles = []
    for index in np.linspace(0, len(test.rows) - 1, min(QUERIES, len(test.rows))).astype(int):
        tiles.append((thumbnail(folder, test.rows[index], TILE), _words(test.rows[index])))
        tiles += [(thumbnail(folder, train.rows[near], TILE), _words(train.rows[near])) for near in order[index]]
    write_sheet(path, contact_sheet(tiles, 1 + min(NEIGHBOURS, len(train.rows)), TILE))


def _words(row: Row) -> str:
    curl = CURLS[row.curl] if row.curl != MISSING else "?"
    volume = VOLUMES[row.volume] if row.volume != MISSING else "?"
    return f"{curl.split()[0]}, {volume}"

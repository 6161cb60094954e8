"""A tiny prepared set of hair pictures: drawn people, one of them not square, so that the grey border is there."""

from pathlib import Path

import numpy as np

from visage.hair.config import ZeroShot
from visage.hair.prepared import ALPHAS, IMAGES, INDEX, INDEX_COLUMNS, META
from visage.io.atomic import write_csv, write_json
from visage.runtime import Runtime
from visage.synthetic.portrait import Portrait, render, sample_person, sample_session, sample_view

SIZE = 128
# Persons of population 11 whose hair is long enough to be found by anything that works at all.
PERSONS = (8, 13, 27, 28, 12)
SPLITS = ("train", "val", "test", "test", "test")
GREY = 116


def portrait(person: int) -> Portrait:
    """The first picture of a person."""
    session = sample_session(11, person, 0)
    return render(sample_person(11, person), session, sample_view(11, person, 0, person % 8), SIZE)


def write_set(folder: Path) -> Path:
    """Write the set; the last picture fills only the middle three quarters of its width."""
    drawn = [portrait(person) for person in PERSONS]
    images, alphas = np.stack([one.image for one in drawn]), np.stack([one.hair_alpha for one in drawn])
    side = SIZE // 8
    for array, fill in ((images, GREY), (alphas, 0)):
        array[-1, :, :side] = fill
        array[-1, :, -side:] = fill
    folder.mkdir(parents=True)
    np.save(folder / IMAGES, images)
    np.save(folder / ALPHAS, alphas)
    rows = []
    for row, (person, split) in enumerate(zip(PERSONS, SPLITS, strict=True)):
        left = side if row == len(PERSONS) - 1 else 0
        given = {"row": row, "sample_id": f"p{person}", "source": f"p{person}", "split": split, "left": left, "top": 0}
        given |= {"width": SIZE - 2 * left, "height": SIZE}
        rows.append({**dict.fromkeys(INDEX_COLUMNS, ""), **given})
    write_csv(folder / INDEX, rows, INDEX_COLUMNS)
    write_json(folder / META, {"size": SIZE})
    return folder


def settings(**changes: object) -> ZeroShot:
    """The defaults of conf/zero_shot for a method without a file, changed."""
    given = {"method": "grabcut", "model_file": "absent.tflite", "low": 0.5, "high": 0.8, "min_part": 0.2}
    return ZeroShot(**{**given, "fill_holes": 0.02, "guided": 4, **changes})


def runtime(**changes: object) -> Runtime:
    """One CPU."""
    given = {"device": "cpu", "processes": 1, "threads": 1, "loaders": 0, "precision": "fp32", "layout": "contiguous"}
    return Runtime(**{**given, "deterministic": True, "memory_gb": 0, "max_minutes": 0, **changes})

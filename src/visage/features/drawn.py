"""The people that the encoder is pretrained on: drawn, and met by no other stage.

Other stages draw person numbers from 0 up; these begin at `FIRST_PERSON`. The pictures are kept beside the resume state
as one array, so that a killed pretraining does not draw them again and its processes share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visage.features.config import Pretrain
from visage.io.atomic import atomic_path, read_jsonl, write_jsonl
from visage.synthetic.draw import Spec, draw_many

FIRST_PERSON = 100_000
ARRAYS = ("pictures.npy", "hair.npy")
# The attributes an encoder learns to tell beside the person, with their values in the order of the logits.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "curl": ("straight", "wavy", "curly", "tightly curly"),
    "strand": ("thin", "normal", "thick"),
    "length": ("short", "bob", "medium", "long"),
    "bangs": ("none", "full", "side"),
}


@dataclass(frozen=True)
class Drawn:
    """pictures: N x S x S x 3 uint8 RGB. hair: N x S x S uint8, coverage by hair as 0..255. targets: N rows of person
    index and one index for each of `ATTRIBUTES`.

    session: N, the session of each picture; the last one of each person is kept for validation.
    """

    pictures: np.ndarray
    hair: np.ndarray
    targets: Sequence[Sequence[int]]
    session: Sequence[int]


def draw_people(settings: Pretrain, seed: int, directory: Path) -> None:
    """Draw the pictures into `directory` unless they are there already (pictures.npy, hair.npy, rows.jsonl)."""
    if all((directory / name).is_file() for name in (*ARRAYS, "rows.jsonl")):
        return
    specs = [
        Spec(seed, FIRST_PERSON + person, session, picture, settings.size)
        for person in range(settings.people)
        for session in range(settings.sessions)
        for picture in range(settings.pictures)
    ]
    pictures = np.empty((len(specs), settings.size, settings.size, 3), np.uint8)
    hair = np.empty(pictures.shape[:3], np.uint8)
    rows = []
    for index, (spec, portrait) in enumerate(zip(specs, draw_many(specs), strict=True)):
        pictures[index], hair[index] = portrait.image, portrait.hair_alpha
        attributes = [values.index(portrait.attributes[name]) for name, values in ATTRIBUTES.items()]
        rows.append({"targets": [spec.person - FIRST_PERSON, *attributes], "session": spec.session})
    for name, array in zip(ARRAYS, (pictures, hair), strict=True):
        with atomic_path(directory / name) as tmp:
            np.save(tmp, array)
    write_jsonl(directory / "rows.jsonl", rows)


def load_people(directory: Path) -> Drawn:
    """What `draw_people` drew, the arrays memory-mapped."""
    rows = read_jsonl(directory / "rows.jsonl")
    pictures, hair = (np.load(directory / name, mmap_mode="r") for name in ARRAYS)
    return Drawn(pictures, hair, [row["targets"] for row in rows], [row["session"] for row in rows])

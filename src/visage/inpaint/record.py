"""metadata.jsonl: one row for each prepared original, checked before it is written and when it is read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from visage.errors import DataError
from visage.inpaint.prompt import CURLS, MISSING, VOLUMES
from visage.io.atomic import read_jsonl
from visage.io.splits import SPLITS

METADATA, QUARANTINE, META = "metadata.jsonl", "quarantine.jsonl", "meta.json"
# The folders of the prepared set, one file an original in each but the last.
IMAGES, BALD, MASKS, HAIR, STYLE, IDENTITY, PATCHES = (
    "ground_truth_images", "bald_images", "masks", "hair_only_images", "style_vectors", "identity_embeddings",
    "hair_patches",
)  # fmt: skip
FOLDERS = (IMAGES, BALD, MASKS, HAIR, STYLE, IDENTITY, PATCHES)


@dataclass(frozen=True)
class Row:
    """An original. Paths are relative to the prepared set.

    id: unique. source: the person. file: of the original. image, bald: RGB. mask: what the bald picture invents, {0,
    255}: what a network must repaint at least. hair_only, style: RGBA, 0 where there is no hair. identity: 512 float32,
    of unit length unless `identity_missing` says why not ("" where it is there); identity_by: the embedder. patches:
    RGB. curl, volume: class numbers, -1 where the record has none. face: (x0, y0, x1, y1) or None, face_by: who found
    it. hair_share, filled_share: of the picture. text_prompt: English.
    """

    id: str
    source: str
    split: str
    file: str
    image: str
    bald: str
    mask: str
    hair_only: str
    style: str
    identity: str
    identity_by: str
    identity_missing: str
    patches: list[str]
    num_patches: int
    text_prompt: str
    curl: int
    volume: int
    face: list[float] | None
    face_by: str
    hair_share: float
    filled_share: float

    def check(self) -> None:
        """Refuse a row that contradicts itself.

        Raises:
            ValueError: names the field.
        """
        texts = ("id", "source", "file", "image", "bald", "mask", "hair_only", "style", "identity", "text_prompt")
        for name in texts:
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name} is empty")
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r} is none of {', '.join(SPLITS)}")
        for name, classes in (("curl", CURLS), ("volume", VOLUMES)):
            if getattr(self, name) not in range(MISSING, len(classes)):
                raise ValueError(f"{name} {getattr(self, name)} is no class of {', '.join(classes)}")
        if self.num_patches != len(self.patches):
            raise ValueError(f"num_patches {self.num_patches} and {len(self.patches)} patches")
        if self.face is not None and not (
            len(self.face) == 4 and self.face[0] < self.face[2] and self.face[1] < self.face[3]
        ):
            raise ValueError(f"face {self.face} is no box")
        if not 0 <= self.hair_share <= self.filled_share <= 1:
            raise ValueError(f"filled_share {self.filled_share} is less than hair_share {self.hair_share}")


def read_metadata(folder: Path) -> list[Row]:
    """The rows of the prepared set in `folder`.

    Raises:
        DataError: prepare_inpaint has not run, or a row is not one of its; the message names the line.
    """
    path = folder / METADATA
    if not path.is_file():
        raise DataError(f"{path} is not there: run prepare_inpaint first (dvc repro prepare_inpaint)")
    return [parse_row(stored, f"{path}, line {number}") for number, stored in enumerate(read_jsonl(path), start=1)]


def parse_row(stored: Mapping[str, Any], name: str) -> Row:
    """A stored row.

    Raises:
        DataError: it lacks a field, has one too many, or contradicts itself; begins with `name`.
    """
    wanted = {field.name for field in fields(Row)}
    if odd := sorted(wanted ^ stored.keys()):
        raise DataError(
            f"{name}: {odd[0]} is {'missing' if odd[0] in wanted else 'unknown'}: run prepare_inpaint again"
        )
    row = Row(**stored)
    try:
        row.check()
    except (ValueError, TypeError) as error:
        raise DataError(f"{name}: {error}: run prepare_inpaint again") from None
    return row


def stored_row(row: Row) -> dict[str, Any]:
    """`row`, checked, as JSON takes it."""
    row.check()
    return asdict(row)

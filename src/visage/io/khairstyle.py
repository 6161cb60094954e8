"""Reader of K-Hairstyle: JSON labels with polygons, paired with their pictures, whatever the copy of the data set.

Pairs are made by the `filename` in the label, not by where files lie: pictures are named with "-" and labels with "_",
some labels are copied byte for byte under a picture's name, and some folders hold labels without pictures. What a file
is follows from its content. The layout and its faults: Kim et al., K-Hairstyle, ICIP 2021, arXiv 2102.06288, and real
records.
"""

import json
import math
import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visage.errors import BadImageError, DataError
from visage.io.eye_frames import Rejected
from visage.io.hair_frames import (
    UNPAIRED,
    Attribute,
    HairFrame,
    Load,
    loading,
    numeric_order,
    read_picture,
    refused,
)
from visage.io.images import read_file
from visage.io.khairstyle_rings import CROP, FACE, HAIR, Ring, fill_rings
from visage.io.khairstyle_vocabulary import VOCABULARY, is_empty, to_english

# How the reasons begin for which half of a pair, or a second label, is refused.
NO_PICTURE, NO_LABEL = f"{UNPAIRED} (a label without its picture)", f"{UNPAIRED} (a picture without its label)"
SECOND_LABEL = "second label of its picture"
# What a source is, for messages and descriptions; `source_of` finds it.
SOURCE = "the label's source; else the picture's name less its last number"
FARTHEST = 1e5  # pixels from the crop; what lies farther is no coordinate
# Labels in order, and pictures by stem; paths are relative to the data set.
Tree = tuple[list[str], dict[str, list[str]]]
SETS = ("mqset", "hqset", "rawset")  # which copy of a picture to take, the best fit to the polygons first


@dataclass(frozen=True)
class Record:
    """What a label says: hair and face are rings, each n x 2 float64 of (x, y) in the 512 x 512 crop; attributes and
    unknown as `HairFrame`; filename and source are "" where it has none."""

    filename: str
    source: str
    hair: list[Ring]
    face: list[Ring]
    attributes: dict[str, Attribute]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """A picture and what its label says; paths are relative to the data set."""

    picture: str
    label: str
    record: Record


def read_khairstyle(root: Path) -> Iterator[Load]:
    """Every picture below `root` with the hair that its label draws; order, refusals and errors are those of
    `read_pairs`."""
    for pair in read_pairs(root):
        if isinstance(pair, Rejected):
            yield refused(pair.sample_id, pair.reason)
        else:
            yield loading(pair.picture, partial(_load, root, pair.picture, pair.record))


def read_pairs(root: Path, tree: Tree | None = None) -> Iterator[Pair | Rejected]:
    """Every picture below `root` that has a label, by the labels' paths; no picture is opened but to see what it is.

    tree: what `list_tree` gave, where it is known. A second label of a picture is left out where it is the same, byte
    for byte, and refused where it differs. Labels without a picture and pictures without a label are refused as
    `UNPAIRED`.

    Raises:
        DataError: there is no label.
    """
    labels, pictures = tree or list_tree(root)
    if not labels:
        raise DataError(f"{root}: no labels (*.json) in it: give the folder of training/ and validation/")
    taken: dict[str, str] = {}
    for label in labels:
        try:
            data = read_file(root / label, label)
            record = parse_record(data, label)
        except BadImageError as error:
            yield Rejected(label, str(error).removeprefix(f"{label}: "))
            continue
        picture = _picture_of(label, record.filename, pictures)
        if picture is None:
            yield Rejected(label, f"{NO_PICTURE}: add {record.filename or 'it'}")
        elif picture not in taken:
            taken[picture] = label
            yield Pair(picture, label, record)
        elif (root / taken[picture]).read_bytes() != data:
            yield Rejected(label, f"{SECOND_LABEL} (the other is {taken[picture]}): remove one")
    stems = {_stem(picture) for picture in taken}
    for stem in sorted(pictures.keys() - stems):
        yield Rejected(pictures[stem][0], f"{NO_LABEL}: add the label")


def parse_record(data: bytes, name: str) -> Record:
    """Read one label's JSON; fields may be spelled with "_" or "-", numbers may be strings.

    Raises:
        BadImageError: no JSON object, no hair polygon, or a polygon that is none; the message begins with `name`.
    """
    try:
        stored = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise BadImageError(f"{name}: damaged label (no JSON): export it again") from None
    if not isinstance(stored, dict):
        raise BadImageError(f"{name}: damaged label (no JSON object): export it again")
    fields = {key.strip().replace("_", "-").casefold(): value for key, value in stored.items()}
    if HAIR not in fields:
        raise BadImageError(f"{name}: no {HAIR} in the label: add it, [] for a picture without hair")
    attributes, unknown = _attributes(fields)
    return Record(
        _text(fields.get("filename")),
        _text(fields.get("source")),
        _rings(fields[HAIR], f"{name}: {HAIR}"),
        _rings(fields.get(FACE), f"{name}: {FACE}"),
        attributes,
        tuple(unknown),
    )


def read_square(root: Path, picture: str) -> NDArray[np.uint8]:
    """A picture of mqset or hqset, S x S x 3 uint8 RGB, which polygons fit.

    Raises:
        BadImageError: it cannot be read, is below 16 pixels, or is not square.
    """
    image, _ = read_picture(root / picture, picture)
    height, width = image.shape[:2]
    if height != width:
        raise BadImageError(
            f"{picture}: not square ({width}x{height}), and its polygons are those of the {CROP}x{CROP} crop: use the "
            "pictures of mqset or hqset"
        )
    return image


def source_of(picture: str, record: Record) -> str:
    """Who is in the picture: the label's source, else the picture's name less its last number."""
    stem = PurePosixPath(picture).stem
    return record.source or stem.replace("_", "-").rpartition("-")[0] or stem


def _load(root: Path, picture: str, record: Record) -> HairFrame:
    image = read_square(root, picture)
    stem, source = PurePosixPath(picture).stem, source_of(picture, record)
    alpha = fill_rings(record.hair, len(image))
    return HairFrame(stem, source, picture, image, alpha, record.attributes, record.unknown)


def list_tree(root: Path) -> Tree:
    """Labels in order, those under a picture's name last, and pictures by stem; hidden files are left out."""
    labels: list[tuple[bool, str]] = []
    pictures: dict[str, list[str]] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        for file in files:
            suffix = Path(file).suffix.lower()
            if file.startswith(".") or suffix not in (".json", ".jpg", ".jpeg", ".png"):
                continue
            path = Path(folder, file)
            relative = path.relative_to(root).as_posix()
            if suffix == ".json":
                labels.append((False, relative))
            elif _is_label(path):
                labels.append((True, relative))
            else:
                pictures.setdefault(_stem(relative), []).append(relative)
    for paths in pictures.values():
        paths.sort()
    return [path for _, path in sorted(labels, key=lambda entry: (entry[0], numeric_order(entry[1])))], pictures


def _is_label(path: Path) -> bool:
    """Whether a file named as a picture holds JSON; one that cannot be opened is refused later, when it is read."""
    try:
        with open(path, "rb") as file:
            return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    except OSError:
        return False


def _stem(path: str) -> str:
    """What pairs are made by: the name without folder and suffix, in one spelling of Hangul and case, with "-"."""
    return unicodedata.normalize("NFC", PurePosixPath(path.replace("\\", "/")).stem).casefold().replace("_", "-")


def _picture_of(label: str, filename: str, pictures: Mapping[str, list[str]]) -> str | None:
    """The picture's path: by the name in the label, else by the label's own; of several, that in the like folder."""
    stem = next((stem for stem in (_stem(filename), _stem(label)) if stem in pictures), None)
    if stem is None:
        return None
    folders = PurePosixPath(label).parts[-3:-1]

    def rank(path: str) -> tuple[bool, int, str]:
        place = next((number for number, name in enumerate(SETS) if name in path.casefold()), 0)
        return PurePosixPath(path).parts[-3:-1] != folders, place, path

    return min(pictures[stem], key=rank)


def _rings(stored: Any, name: str) -> list[Ring]:
    """The rings of a polygon: a list, or a JSON string of one, of lists of {x, y}; nothing where it is empty."""
    fault = BadImageError(f"{name} is no list of rings of {{x, y}}: export the label again")
    if is_empty(stored):
        return []
    try:
        rings = json.loads(stored) if isinstance(stored, str) else stored
        arrays = [np.array([(float(p["x"]), float(p["y"])) for p in ring], np.float64) for ring in rings or []]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        raise fault from None
    # Two points enclose nothing. Written so that a NaN fails too.
    arrays = [ring for ring in arrays if len(ring) >= 3]
    if not all(np.all(np.abs(ring) < FARTHEST) for ring in arrays):
        raise fault
    return arrays


def _attributes(fields: Mapping[str, Any]) -> tuple[dict[str, Attribute], list[str]]:
    attributes: dict[str, Attribute] = {}
    unknown: list[str] = []
    if "gender" in fields and is_empty(fields.get("sex")):
        fields = {**fields, "sex": fields["gender"]}
    for field in VOCABULARY:
        if is_empty(fields.get(field)):
            continue
        word = to_english(field, str(fields[field]))
        if word is None:
            unknown.append(f"{field}={fields[field]}")
        else:
            attributes[field] = word
    for field in ("horizontal", "age"):
        number = _number(fields.get(field))
        if number is not None:
            attributes[field] = number
    if isinstance(fields.get("front"), bool):
        attributes["front"] = fields["front"]
    colour = fields.get("rgb")
    parts = colour.strip("[]() ").split(",") if isinstance(colour, str) else colour
    numbers = [_number(part) for part in parts] if isinstance(parts, list) else []
    if len(numbers) == 3 and None not in numbers:
        attributes["rgb"] = tuple(float(number) for number in numbers if number is not None)
    return attributes, unknown


def _number(stored: Any) -> float | None:
    try:
        number = float(stored)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _text(stored: Any) -> str:
    return "" if is_empty(stored) else str(stored).strip()
